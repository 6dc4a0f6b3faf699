use kite_plugin_sdk::ResourceType;

struct Reports;

fn main() {
    ResourceType::new(Reports);
}
