//! A file of descriptors as `.proto` text.

use std::collections::HashSet;
use std::fmt::Write as _;

use prost_types::field_descriptor_proto::Label;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
};

use super::walk::{Comments, comments};

const HEADER: &str = "\
// Derived from WIT by `arcana plugin proto`, in the sources of Arcana by `cargo xtask proto`. Changes belong into the WIT.
";

/// The text of one of [`Files`](super::Files): what a compiler of `.proto` files makes the same descriptors of, comments
/// included. The same descriptors give the same text. Options and whatever else the derived files do not have is left out.
#[must_use]
pub fn render(file: &FileDescriptorProto) -> String {
    let mut text = Text { out: HEADER.to_owned(), indent: 0, comments: comments(file), scopes: Scopes::of(file) };
    let _ = write!(text.out, "\nsyntax = \"proto3\";\n\npackage {};\n", file.package());
    if !file.dependency.is_empty() {
        text.out.push('\n');
    }
    for name in &file.dependency {
        let _ = writeln!(text.out, "import \"{name}\";");
    }
    for service in &file.service {
        text.out.push('\n');
        text.service(file.package(), service);
    }
    for message in &file.message_type {
        text.out.push('\n');
        text.message(file.package(), message);
    }
    for of in &file.enum_type {
        text.out.push('\n');
        text.labels(file.package(), of);
    }
    text.out
}

/// A field as it is declared; `ty` is how its type is written.
pub(super) fn declaration(field: &FieldDescriptorProto, ty: &str) -> String {
    let label = match field.label() {
        Label::Repeated => "repeated ",
        _ if field.proto3_optional() => "optional ",
        _ => "",
    };
    format!("{label}{ty} {} = {}", field.name(), field.number())
}

/// The word for the type of a scalar; meaningless for messages and enums.
pub(super) fn scalar(field: &FieldDescriptorProto) -> String {
    field.r#type().as_str_name().trim_start_matches("TYPE_").to_ascii_lowercase()
}

/// Whether a name that starts a declaration, or stands behind the parenthesis of a method, would be read as something else.
fn is_keyword(name: &str) -> bool {
    const WORDS: &str = "enum export extend extensions group local map message oneof option optional repeated required reserved \
        stream double float int32 int64 uint32 uint64 sint32 sint64 fixed32 fixed64 sfixed32 sfixed64 bool string bytes";
    let first = name.split('.').next().unwrap_or_default();
    WORDS.split(' ').any(|word| word == first)
}

struct Text {
    out: String,
    indent: usize,
    comments: Comments,
    scopes: Scopes,
}

impl Text {
    fn line(&mut self, line: &str) {
        let _ = writeln!(self.out, "{:width$}{line}", "", width = self.indent * 2);
    }

    fn comment(&mut self, name: &str) {
        let Some(comment) = self.comments.remove(name) else { return };
        for line in comment.lines() {
            self.line(&format!("//{line}"));
        }
    }

    /// A block with this head, or `head {}` where nothing is in it.
    fn block(&mut self, head: &str, is_empty: bool, body: impl FnOnce(&mut Self)) {
        if is_empty {
            return self.line(&format!("{head} {{}}"));
        }
        self.line(&format!("{head} {{"));
        self.indent += 1;
        body(self);
        self.indent -= 1;
        self.line("}");
    }

    fn service(&mut self, package: &str, service: &ServiceDescriptorProto) {
        let full_name = format!("{package}.{}", service.name());
        self.comment(&full_name);
        self.scopes.enter(&full_name, service.method.iter().map(|method| method.name()));
        self.block(&format!("service {}", service.name()), service.method.is_empty(), |text| {
            for (at, method) in service.method.iter().enumerate() {
                if at > 0 {
                    text.out.push('\n');
                }
                text.comment(&format!("{full_name}.{}", method.name()));
                let (input, output) = (text.scopes.name(method.input_type()), text.scopes.name(method.output_type()));
                let stream = |yes: bool| if yes { "stream " } else { "" };
                let (takes, gives) = (stream(method.client_streaming()), stream(method.server_streaming()));
                text.line(&format!("rpc {}({takes}{input}) returns ({gives}{output});", method.name()));
            }
        });
        self.scopes.leave();
    }

    fn message(&mut self, scope: &str, message: &DescriptorProto) {
        let full_name = format!("{scope}.{}", message.name());
        self.comment(&full_name);
        let fields = message.field.iter().map(|field| field.name());
        let oneofs = message.oneof_decl.iter().map(|oneof| oneof.name());
        let nested = message.nested_type.iter().map(|nested| nested.name());
        self.scopes.enter(&full_name, fields.chain(oneofs).chain(nested));
        let is_empty = message.field.is_empty() && message.nested_type.is_empty();
        self.block(&format!("message {}", message.name()), is_empty, |text| {
            let mut fields = message.field.iter().peekable();
            while let Some(field) = fields.next() {
                let Some(oneof) = oneof(field) else {
                    text.field(&full_name, field);
                    continue;
                };
                let name = usize::try_from(oneof).ok().and_then(|at| message.oneof_decl.get(at));
                text.block(&format!("oneof {}", name.map_or("", |oneof| oneof.name())), false, |text| {
                    text.field(&full_name, field);
                    while let Some(field) = fields.next_if(|next| self::oneof(next) == Some(oneof)) {
                        text.field(&full_name, field);
                    }
                });
            }
            for nested in &message.nested_type {
                text.out.push('\n');
                text.message(&full_name, nested);
            }
        });
        self.scopes.leave();
    }

    fn field(&mut self, scope: &str, field: &FieldDescriptorProto) {
        self.comment(&format!("{scope}.{}", field.name()));
        let ty = field.type_name.as_deref().map_or_else(|| scalar(field), |name| self.scopes.name(name));
        self.line(&format!("{};", declaration(field, &ty)));
    }

    fn labels(&mut self, scope: &str, of: &EnumDescriptorProto) {
        self.comment(&format!("{scope}.{}", of.name()));
        self.block(&format!("enum {}", of.name()), of.value.is_empty(), |text| {
            for value in &of.value {
                text.comment(&format!("{scope}.{}", value.name()));
                text.line(&format!("{} = {};", value.name(), value.number()));
            }
        });
    }
}

/// The oneof that was written as one.
pub(super) fn oneof(field: &FieldDescriptorProto) -> Option<i32> {
    field.oneof_index.filter(|_| !field.proto3_optional())
}

/// What names mean where the text is: protobuf looks a name up from the inside out, by its first word.
struct Scopes {
    /// The scopes around, the root first, with the names in them.
    around: Vec<(String, HashSet<String>)>,
    package: String,
}

impl Scopes {
    fn of(file: &FileDescriptorProto) -> Self {
        let mut scopes = Self { around: Vec::new(), package: file.package().to_owned() };
        // A derived file is in the folder of its package.
        let folder = |name: &String| name.rsplit_once('/').map(|(folder, _)| folder.replace('/', "."));
        let imported: Vec<String> = file.dependency.iter().filter_map(folder).collect();
        let packages = || imported.iter().map(String::as_str).chain([file.package()]);
        let below = |scope: &str| {
            let rest = |package: &str| match scope {
                "" => Some(package.to_owned()),
                _ => package.strip_prefix(scope)?.strip_prefix('.').map(str::to_owned),
            };
            packages().filter_map(rest).filter_map(|rest| rest.split('.').next().map(str::to_owned)).collect::<Vec<_>>()
        };
        scopes.enter("", below(""));
        for (end, _) in file.package().match_indices('.') {
            let scope = file.package().get(..end).unwrap_or_default();
            scopes.enter(scope, below(scope));
        }
        let services = file.service.iter().map(|service| service.name());
        let messages = file.message_type.iter().map(|message| message.name());
        let enums = file.enum_type.iter().flat_map(|of| {
            let values = of.value.iter().map(|value| value.name());
            values.chain([of.name()])
        });
        let own = services.chain(messages).chain(enums).map(str::to_owned).chain(below(file.package()));
        scopes.enter(file.package(), own.collect::<Vec<_>>());
        scopes
    }

    fn enter(&mut self, scope: &str, names: impl IntoIterator<Item = impl Into<String>>) {
        self.around.push((scope.to_owned(), names.into_iter().map(Into::into).collect()));
    }

    fn leave(&mut self) {
        self.around.pop();
    }

    /// How a type is written here: by its name in the innermost scope that has it, by its full name where it is from another
    /// package, and with a dot in front where that name means something else here.
    fn name(&self, full_name: &str) -> String {
        let bare = full_name.strip_prefix('.').unwrap_or(full_name);
        let inside = self.around.iter().rev().take_while(|(scope, _)| scope.len() >= self.package.len());
        let mut names = inside.filter_map(|(scope, _)| bare.strip_prefix(scope.as_str())?.strip_prefix('.'));
        match names.find(|name| self.means(name, bare)) {
            Some(name) => name.to_owned(),
            None if self.means(bare, bare) && !is_keyword(bare) => bare.to_owned(),
            None => format!(".{bare}"),
        }
    }

    /// Whether a name, looked up here, is that of this type.
    fn means(&self, name: &str, full_name: &str) -> bool {
        let first = name.split('.').next().unwrap_or_default();
        let Some((scope, _)) = self.around.iter().rev().find(|(_, names)| names.contains(first)) else { return false };
        match scope.as_str() {
            "" => name == full_name,
            scope => full_name.strip_prefix(scope).and_then(|rest| rest.strip_prefix('.')) == Some(name),
        }
    }
}
