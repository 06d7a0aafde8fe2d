//! From plans to descriptors.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use prost_types::field_descriptor_proto::{Label as ProtoLabel, Type as Kind};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileOptions, MethodDescriptorProto, OneofDescriptorProto, ServiceDescriptorProto,
};

use super::descriptor::Service;
use super::form::{Label, Slot, scalar};
use super::merge::arrange;
use super::walk::{Comments, comment, set_comments};
use super::{method_name, service_name};
use crate::contract::error::ContractError;
use crate::contract::names::{camel, snake};
use crate::contract::plan::{FunctionPlan, PackageName};
use crate::contract::types::{Label as Case, Labels, Record, Type, TypeName, Variant};

/// The file with the message of cases without a payload, and that message.
pub(super) const EMPTY_FILE: &str = "google/protobuf/empty.proto";
const EMPTY: &str = ".google.protobuf.Empty";

/// So deep a message may be declared in others; compilers stop at 32.
const MAX_NESTING: usize = 30;

/// Puts files together; each named type is built once.
#[derive(Default)]
pub(super) struct Builder {
    files: BTreeMap<String, Draft>,
    /// What stands behind each full name of a package. WIT keeps names apart that differ only in hyphens or case, so that
    /// those in a message are too.
    taken: HashMap<String, String>,
    uses_empty: bool,
    /// The interface and the function that types are built for.
    at: (String, String),
}

#[derive(Default)]
struct Draft {
    proto: FileDescriptorProto,
    dependencies: BTreeSet<String>,
    comments: Comments,
}

/// A message while it is put together.
struct Message {
    /// The name of its file.
    file: String,
    /// The full name, without a dot in front.
    name: String,
    depth: usize,
    proto: DescriptorProto,
}

impl Builder {
    pub(super) fn service(&mut self, service: &Service<'_>) -> Result<(), ContractError> {
        let full_name = service_name(service.package, service.name);
        let interface = format!("{}/{}", service.package, service.name);
        self.take(&full_name, format!("the interface `{interface}`"))?;
        let file = self.file(service.package);
        let mut proto = ServiceDescriptorProto { name: Some(camel(service.name)), ..Default::default() };
        for function in &service.functions {
            self.at = (interface.clone(), function.name.clone());
            let method = format!("{full_name}.{}", method_name(&function.name));
            if !self.take(&method, format!("the function `{}` of `{interface}`", function.name))? {
                continue;
            }
            self.comment(&file, &method, function.docs.as_deref());
            proto.method.push(MethodDescriptorProto {
                name: Some(method_name(&function.name)),
                input_type: Some(self.request(&file, service.package, function)?),
                output_type: Some(self.response(&file, service.package, function)?),
                // Absent is what compilers make of a method without streams.
                client_streaming: function.streams.request.then_some(true),
                server_streaming: function.streams.answer.then_some(true),
                ..Default::default()
            });
        }
        self.comment(&file, &full_name, service.docs);
        let draft = self.files.entry(file).or_default();
        // The same interface twice, with other functions, is one service.
        match draft.proto.service.iter_mut().find(|known| known.name == proto.name) {
            Some(known) => known.method.append(&mut proto.method),
            None => draft.proto.service.push(proto),
        }
        Ok(())
    }

    pub(super) fn finish(self) -> BTreeMap<String, Arc<FileDescriptorProto>> {
        let finish = |(name, mut draft): (String, Draft)| {
            draft.proto.dependency = draft.dependencies.into_iter().collect();
            arrange(&mut draft.proto);
            set_comments(&mut draft.proto, &draft.comments);
            (name, Arc::new(draft.proto))
        };
        let mut files: BTreeMap<_, _> = self.files.into_iter().map(finish).collect();
        if self.uses_empty {
            files.insert(EMPTY_FILE.to_owned(), Arc::new(empty()));
        }
        files
    }

    /// The full name of a method's request.
    fn request(&mut self, file: &str, package: &PackageName, function: &FunctionPlan) -> Result<String, ContractError> {
        if let Some(ty) = function.request_message() {
            return self.message(ty, file);
        }
        let method = method_name(&function.name);
        let mut message = self.derived(file, package, function, "Request", &format!("What `{method}` takes."))?;
        for (number, param) in (1..).zip(&**function.params) {
            self.slot(&mut message, &param.name, number, Slot::field(&param.ty), param.docs.as_deref())?;
        }
        Ok(self.declare(message))
    }

    /// The full name of a method's response.
    fn response(
        &mut self,
        file: &str,
        package: &PackageName,
        function: &FunctionPlan,
    ) -> Result<String, ContractError> {
        if let Some(ty) = function.response_message() {
            return self.message(ty, file);
        }
        let method = method_name(&function.name);
        let mut message = self.derived(file, package, function, "Response", &format!("What `{method}` answers."))?;
        if let Some(ty) = &function.result.ok {
            self.slot(&mut message, "value", 1, Slot::field(ty), None)?;
        }
        Ok(self.declare(message))
    }

    /// The full name of a type that is a message by itself.
    fn message(&mut self, ty: &Type, from: &str) -> Result<String, ContractError> {
        match ty {
            Type::Record(record) => self.record(record, from),
            Type::Variant(variant) => self.variant(variant, from),
            _ => Err(self.refuse("neither a record nor a variant can be a message".into())),
        }
    }

    /// A message that is called after a function.
    fn derived(
        &mut self,
        file: &str,
        package: &PackageName,
        function: &FunctionPlan,
        suffix: &str,
        docs: &str,
    ) -> Result<Message, ContractError> {
        let short = format!("{}{suffix}", method_name(&function.name));
        let name = format!("{}.{short}", package.proto());
        let origin = format!("the {} of function `{}` of `{}`", suffix.to_ascii_lowercase(), function.name, self.at.0);
        self.take(&name, origin)?;
        self.comment(file, &name, Some(docs));
        Ok(Message { file: file.to_owned(), name, depth: 1, proto: named(short) })
    }

    /// The full name of a record's message, seen from a file.
    fn record(&mut self, record: &Record, from: &str) -> Result<String, ContractError> {
        let (mut message, is_new) = self.named_type(&record.name, from)?;
        if !is_new {
            return Ok(format!(".{}", message.name));
        }
        for (number, field) in (1..).zip(&*record.fields) {
            self.slot(&mut message, &field.name, number, Slot::field(&field.ty), field.docs.as_deref())?;
        }
        Ok(self.declare(message))
    }

    fn variant(&mut self, variant: &Variant, from: &str) -> Result<String, ContractError> {
        let (mut message, is_new) = self.named_type(&variant.name, from)?;
        if !is_new {
            return Ok(format!(".{}", message.name));
        }
        let oneof = if variant.cases.iter().any(|case| case.name == "kind") { "kind_" } else { "kind" };
        message.proto.oneof_decl.push(OneofDescriptorProto { name: Some(oneof.to_owned()), ..Default::default() });
        for (number, case) in (1..).zip(&*variant.cases) {
            self.payload(&mut message, &case.name, number, case.ty.as_ref(), case.docs.as_deref())?;
        }
        Ok(self.declare(message))
    }

    /// The full name of the enum of an enum or of flags.
    fn labels(&mut self, labels: &Labels, kind: &str, from: &str) -> Result<String, ContractError> {
        let (message, is_new) = self.named_type(&labels.name, from)?;
        let name = format!(".{}", message.name);
        if !is_new {
            return Ok(name);
        }
        let origin = format!("`{}` of `{}`", labels.name.name, labels.name.interface);
        let scope = message.name.rsplit_once('.').map_or("", |(scope, _)| scope);
        let prefix = snake(&labels.name.name).to_ascii_uppercase();
        let mut proto = EnumDescriptorProto { name: message.proto.name, ..Default::default() };
        let mut value = |builder: &mut Self, number: i32, word: &str, origin: String, docs: Option<&str>| {
            let short = format!("{prefix}_{}", word.to_ascii_uppercase());
            let full_name = format!("{scope}.{short}");
            // Values are named beside their enum: those of two enums may meet.
            builder.take(&full_name, origin)?;
            builder.comment(&message.file, &full_name, docs);
            let number = Some(number);
            proto.value.push(EnumValueDescriptorProto { name: Some(short), number, ..Default::default() });
            Ok::<_, ContractError>(())
        };
        value(self, 0, "unspecified", format!("the zero of {origin}"), Some("No value: it is refused."))?;
        for (number, Case { name, json_name, docs }) in (1..).zip(&*labels.list) {
            value(self, number, json_name, format!("the {kind} `{name}` of {origin}"), docs.as_deref())?;
        }
        self.files.entry(message.file).or_default().proto.enum_type.push(proto);
        Ok(name)
    }

    /// The message of a type with a name, and whether it is new. The file it is seen from imports that of the type.
    fn named_type(&mut self, ty: &TypeName, from: &str) -> Result<(Message, bool), ContractError> {
        let origin = format!("the type `{}` of `{}`", ty.name, ty.interface);
        let Some(package) = &ty.package else {
            return Err(self.refuse(format!("the type `{}` belongs to no package to be named after", ty.name)));
        };
        let file = self.file(package);
        if file != from {
            self.files.entry(from.to_owned()).or_default().dependencies.insert(file.clone());
        }
        let short = camel(&ty.name);
        let name = format!("{}.{short}", package.proto());
        let is_new = self.take(&name, origin)?;
        if is_new {
            self.comment(&file, &name, ty.docs.as_deref());
        }
        Ok((Message { file, name, depth: 1, proto: named(short) }, is_new))
    }

    /// A field of a oneof.
    fn payload(
        &mut self,
        message: &mut Message,
        name: &str,
        number: i32,
        ty: Option<&Arc<Type>>,
        docs: Option<&str>,
    ) -> Result<(), ContractError> {
        match ty {
            Some(ty) => self.slot(message, name, number, Slot::payload(ty), docs)?,
            None => {
                self.uses_empty = true;
                let draft = self.files.entry(message.file.clone()).or_default();
                draft.dependencies.insert(EMPTY_FILE.to_owned());
                self.field(message, name, number, Label::Singular, (Kind::Message, Some(EMPTY.to_owned())), docs)?;
            }
        }
        if let Some(field) = message.proto.field.last_mut() {
            field.oneof_index = Some(0);
        }
        Ok(())
    }

    /// A field with this WIT name.
    fn slot(
        &mut self,
        message: &mut Message,
        name: &str,
        number: i32,
        slot: Slot<'_>,
        docs: Option<&str>,
    ) -> Result<(), ContractError> {
        let kind = match &**slot.ty {
            ty if slot.wrapped => {
                let what = match ty {
                    Type::Option(_) => "option",
                    Type::List(_) => "list",
                    _ => "set",
                };
                let docs = format!("One {what} of `{}`.", snake(name));
                let mut inner = self.nested(message, name, "Value", &docs)?;
                self.slot(&mut inner, "value", 1, Slot::field(slot.ty), None)?;
                (Kind::Message, Some(adopt(message, inner)))
            }
            Type::Tuple(items) => {
                let mut inner = self.nested(message, name, "Tuple", &format!("The parts of `{}`.", snake(name)))?;
                for (at, item) in items.iter().enumerate() {
                    let number = i32::try_from(at + 1).unwrap_or(i32::MAX);
                    self.slot(&mut inner, &format!("f{at}"), number, Slot::field(item), None)?;
                }
                (Kind::Message, Some(adopt(message, inner)))
            }
            Type::Result { ok, err } => {
                let mut inner = self.nested(message, name, "Result", &format!("Either side of `{}`.", snake(name)))?;
                inner.proto.oneof_decl.push(OneofDescriptorProto { name: Some("result".into()), ..Default::default() });
                self.payload(&mut inner, "ok", 1, ok.as_ref(), None)?;
                self.payload(&mut inner, "err", 2, err.as_ref(), None)?;
                (Kind::Message, Some(adopt(message, inner)))
            }
            Type::Record(record) => (Kind::Message, Some(self.record(record, &message.file)?)),
            Type::Variant(variant) => (Kind::Message, Some(self.variant(variant, &message.file)?)),
            Type::Enum(labels) => (Kind::Enum, Some(self.labels(labels, "case", &message.file)?)),
            Type::Flags(labels) => (Kind::Enum, Some(self.labels(labels, "flag", &message.file)?)),
            ty => (scalar(ty).unwrap_or(Kind::Bytes), None),
        };
        self.field(message, name, number, slot.label, kind, docs)
    }

    fn field(
        &mut self,
        message: &mut Message,
        wit_name: &str,
        number: i32,
        label: Label,
        (kind, type_name): (Kind, Option<String>),
        docs: Option<&str>,
    ) -> Result<(), ContractError> {
        let name = snake(wit_name);
        let json_name = json_name(&name);
        self.comment(&message.file, &format!("{}.{name}", message.name), docs);
        let mut field = FieldDescriptorProto {
            json_name: Some(json_name),
            number: Some(number),
            label: Some(if label == Label::Repeated { ProtoLabel::Repeated } else { ProtoLabel::Optional }.into()),
            r#type: Some(kind.into()),
            type_name,
            ..Default::default()
        };
        if label == Label::Optional {
            field.proto3_optional = Some(true);
            field.oneof_index = i32::try_from(message.proto.oneof_decl.len()).ok();
            let oneof = OneofDescriptorProto { name: Some(format!("_{name}")), ..Default::default() };
            message.proto.oneof_decl.push(oneof);
        }
        field.name = Some(name);
        message.proto.field.push(field);
        Ok(())
    }

    /// A message without a name of its own, called after the field of another one.
    fn nested(&mut self, outer: &Message, field: &str, suffix: &str, docs: &str) -> Result<Message, ContractError> {
        if outer.depth >= MAX_NESTING {
            return Err(self.refuse(format!(
                "more than {MAX_NESTING} lists, options, tuples and results are inside of each other; a record among them \
                 would give a name to be found by"
            )));
        }
        let short = format!("{}{suffix}", camel(field));
        let name = format!("{}.{short}", outer.name);
        self.comment(&outer.file, &name, Some(docs));
        Ok(Message { file: outer.file.clone(), name, depth: outer.depth + 1, proto: named(short) })
    }

    /// Puts a finished message into its file; answers its full name.
    fn declare(&mut self, message: Message) -> String {
        self.files.entry(message.file).or_default().proto.message_type.push(message.proto);
        format!(".{}", message.name)
    }

    /// The name of a package's file, which is there from now on.
    fn file(&mut self, package: &PackageName) -> String {
        let proto = package.proto();
        let name = format!("{}/{}.proto", proto.replace('.', "/"), snake(&package.name));
        let draft = self.files.entry(name.clone()).or_default();
        draft.proto.name = Some(name.clone());
        draft.proto.package = Some(proto);
        draft.proto.syntax = Some("proto3".to_owned());
        name
    }

    fn comment(&mut self, file: &str, name: &str, docs: Option<&str>) {
        if let Some(docs) = docs.filter(|docs| !docs.is_empty()) {
            self.files.entry(file.to_owned()).or_default().comments.insert(name.to_owned(), comment(docs));
        }
    }

    /// Whether the name is free. The same thing may take it again.
    fn take(&mut self, name: &str, origin: String) -> Result<bool, ContractError> {
        match self.taken.get(name) {
            None => {
                self.taken.insert(name.to_owned(), origin);
                Ok(true)
            }
            Some(first) if *first == origin => Ok(false),
            Some(first) => {
                Err(ContractError::Collision { name: name.to_owned(), first: first.clone(), second: origin })
            }
        }
    }

    fn refuse(&self, reason: String) -> ContractError {
        let (interface, function) = self.at.clone();
        ContractError::Function { interface, function, reason }
    }
}

/// Declares a message in another one; answers its full name.
fn adopt(outer: &mut Message, inner: Message) -> String {
    outer.proto.nested_type.push(inner.proto);
    format!(".{}", inner.name)
}

fn named(name: String) -> DescriptorProto {
    DescriptorProto { name: Some(name), ..Default::default() }
}

/// The name of a field in the JSON of protobuf, as compilers derive it: `access_token` is `accessToken`.
fn json_name(name: &str) -> String {
    let mut words = name.split('_');
    let mut json = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        json.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        json.push_str(letters.as_str());
    }
    json
}

/// The file as protobuf ships it: generators know by the options where their own library has it.
fn empty() -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(EMPTY_FILE.to_owned()),
        package: Some("google.protobuf".to_owned()),
        message_type: vec![named("Empty".to_owned())],
        options: Some(FileOptions {
            java_package: Some("com.google.protobuf".to_owned()),
            java_outer_classname: Some("EmptyProto".to_owned()),
            java_multiple_files: Some(true),
            go_package: Some("google.golang.org/protobuf/types/known/emptypb".to_owned()),
            cc_enable_arenas: Some(true),
            objc_class_prefix: Some("GPB".to_owned()),
            csharp_namespace: Some("Google.Protobuf.WellKnownTypes".to_owned()),
            ..Default::default()
        }),
        syntax: Some("proto3".to_owned()),
        ..Default::default()
    }
}
