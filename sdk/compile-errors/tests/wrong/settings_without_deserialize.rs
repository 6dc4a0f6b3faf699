use kite_plugin_sdk::ApplySettings;

struct Settings {
    currency: String,
}

fn main() {
    ApplySettings::of::<Settings>();
}
