//! One message with every field set: of each oneof the last, of each list two.

use prost_reflect::{Cardinality, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

/// Nested this deep, messages are left empty; none of ours contains itself.
const DEPTH_MAX: usize = 8;

pub(crate) fn full(descriptor: &MessageDescriptor) -> DynamicMessage {
    filled(descriptor, DEPTH_MAX)
}

fn filled(descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    if depth == 0 {
        return message;
    }
    for field in descriptor.fields() {
        let one = value(&field, depth);
        let value = match field.cardinality() {
            Cardinality::Repeated => Value::List(vec![one.clone(), one]),
            _ => one,
        };
        message.set_field(&field, value);
    }
    message
}

/// A value that no other field of the message has, and that is no default.
fn value(field: &FieldDescriptor, depth: usize) -> Value {
    let number = field.number();
    match field.kind() {
        Kind::Double => Value::F64(f64::from(number) + 0.25),
        Kind::Float => Value::F32(0.5),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(-7),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(-7),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(1_000 + number),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(1_000_000 + u64::from(number)),
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String(format!("{} {number}", field.name())),
        Kind::Bytes => Value::Bytes(format!("{} {number}", field.name()).into_bytes().into()),
        Kind::Message(message) => Value::Message(filled(&message, depth - 1)),
        Kind::Enum(_) => Value::EnumNumber(1),
    }
}
