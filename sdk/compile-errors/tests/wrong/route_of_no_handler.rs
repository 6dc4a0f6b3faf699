use kite_plugin_sdk::{
    Caller,
    axum::{Router, routing::get},
};

struct Costs;

async fn costs(caller: Caller, costs: Costs) -> String {
    let Costs = costs;
    caller.name
}

fn main() {
    let _: Router = Router::new().route("/costs", get(costs));
}
