//! What may not change between two versions of the contract: the rules that `buf breaking` calls WIRE, and names, since
//! people read them.

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

/// Everything of `then` that is gone or different in `now`, in words.
pub(crate) fn broken(then: &DescriptorPool, now: &DescriptorPool) -> Vec<String> {
    let messages = then.all_messages().flat_map(|message| match now.get_message_by_name(message.full_name()) {
        Some(today) => fields(&message, &today),
        None => vec![format!("message {} is gone", message.full_name())],
    });
    messages.chain(methods(then, now)).collect()
}

fn fields(then: &MessageDescriptor, now: &MessageDescriptor) -> Vec<String> {
    let is_reserved = |number: u32| now.reserved_ranges().any(|range| range.contains(&number));
    then.fields()
        .filter_map(|field| match now.get_field(field.number()) {
            Some(today) if meaning(&today) == meaning(&field) => None,
            Some(today) => Some(format!("{}: {} was {}", field.full_name(), meaning(&today), meaning(&field))),
            None if is_reserved(field.number()) => None,
            None => Some(format!("{} is gone, and its number {} is not reserved", field.full_name(), field.number())),
        })
        .collect()
}

/// All that a peer goes by.
fn meaning(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        kind => format!("{kind:?}"),
    };
    let oneof = field.containing_oneof().map(|oneof| oneof.name().to_owned());
    format!("{} = {}: {:?} {kind}, in {oneof:?}", field.name(), field.number(), field.cardinality())
}

fn methods(then: &DescriptorPool, now: &DescriptorPool) -> Vec<String> {
    let all = |pool: &DescriptorPool| -> Vec<(String, String)> {
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        let shape = |method: prost_reflect::MethodDescriptor| {
            let side = |message: MessageDescriptor, streams| format!("{} (stream: {streams})", message.full_name());
            let input = side(method.input(), method.is_client_streaming());
            (
                method.full_name().to_owned(),
                format!("{input} to {}", side(method.output(), method.is_server_streaming())),
            )
        };
        methods.map(shape).collect()
    };
    let today = all(now);
    all(then)
        .into_iter()
        .filter(|method| !today.contains(method))
        .map(|(name, was)| format!("rpc {name}: was {was}"))
        .collect()
}

/// Whether `whole` says everything that `part` says.
pub(crate) fn is_part_of(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, value)| whole.get(key).is_some_and(|whole| is_part_of(value, whole)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| is_part_of(part, whole))
        }
        _ => part == whole,
    }
}
