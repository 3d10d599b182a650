//! Every name and number of the contracts is listed in `contract.txt`. A line may be added with a field; a line that
//! would go or change breaks somebody who relies on it.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

const CONTRACT: &str = include_str!("contract.txt");

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(schemas::FILE_DESCRIPTOR_SET).expect("what the build has encoded")
}

fn ours() -> impl Iterator<Item = FileDescriptorProto> {
    descriptors().file.into_iter().filter(|file| file.package().starts_with("thuban."))
}

#[test]
fn every_name_and_number_is_as_listed() {
    let met: BTreeSet<String> = ours().flat_map(|file| lines(&file)).collect();
    let listed: BTreeSet<String> = CONTRACT.lines().map(str::to_owned).collect();
    let gone: Vec<_> = listed.difference(&met).collect();
    assert!(gone.is_empty(), "promised in contract.txt and not there:\n{gone:#?}");
    let new: Vec<&str> = met.difference(&listed).map(String::as_str).collect();
    assert!(new.is_empty(), "new; add to contract.txt:\n{}", new.join("\n"));
}

#[test]
fn the_descriptors_are_whole() {
    let all = descriptors();
    let names: BTreeSet<&str> = all.file.iter().map(FileDescriptorProto::name).collect();
    for file in &all.file {
        for import in &file.dependency {
            assert!(names.contains(import.as_str()), "{} imports {import}, which is missing", file.name());
        }
        assert_eq!(file.source_code_info, None, "{} carries its comments", file.name());
    }
    let packages: BTreeSet<String> = ours().map(|file| file.package().to_owned()).collect();
    assert_eq!(packages.into_iter().collect::<Vec<_>>(), ["thuban.change.v1", "thuban.peer.v1", "thuban.v1"]);
}

#[test]
fn every_number_is_used_once() {
    for message in ours().flat_map(|file| file.message_type) {
        let mut numbers = BTreeSet::new();
        for field in &message.field {
            assert!(numbers.insert(field.number()), "{} has {} twice", message.name(), field.number());
        }
    }
}

fn lines(file: &FileDescriptorProto) -> Vec<String> {
    let mut out = Vec::new();
    for service in &file.service {
        for call in &service.method {
            let stream = |yes: bool| if yes { "stream " } else { "" };
            out.push(format!(
                "{}.{}/{} {}{} -> {}{}",
                file.package(),
                service.name(),
                call.name(),
                stream(call.client_streaming()),
                call.input_type(),
                stream(call.server_streaming()),
                call.output_type(),
            ));
        }
    }
    file.enum_type.iter().for_each(|kind| list_enum(&mut out, file.package(), kind));
    file.message_type.iter().for_each(|message| list_message(&mut out, file.package(), message));
    out
}

fn list_message(out: &mut Vec<String>, outer: &str, message: &DescriptorProto) {
    let name = format!("{outer}.{}", message.name());
    out.push(name.clone());
    out.extend(message.field.iter().map(|field| line(&name, message, field)));
    message.enum_type.iter().for_each(|kind| list_enum(out, &name, kind));
    message.nested_type.iter().for_each(|nested| list_message(out, &name, nested));
}

fn list_enum(out: &mut Vec<String>, outer: &str, kind: &EnumDescriptorProto) {
    let values = kind.value.iter();
    out.extend(values.map(|value| format!("{outer}.{} {} = {}", kind.name(), value.name(), value.number())));
}

fn line(name: &str, message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let what = match field.r#type() {
        Type::Message | Type::Enum => field.type_name().to_owned(),
        scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let choice = field.oneof_index.and_then(|index| message.oneof_decl.get(index as usize)).map(|one| one.name());
    let label = match (field.label(), field.proto3_optional(), choice) {
        (Label::Repeated, ..) => "repeated ".to_owned(),
        (_, true, _) => "optional ".to_owned(),
        (.., Some(choice)) => format!("oneof {choice} "),
        _ => String::new(),
    };
    format!("{name} {label}{what} {} = {}", field.name(), field.number())
}
