export const page = "hello";
