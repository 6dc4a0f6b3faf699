struct Costs;

fn main() {
    let _ = kite_plugin_sdk::serve(Costs);
}
