//! The elements of a file with their full names and their paths, and the comments that hang on the paths.

use std::collections::HashMap;

use prost_types::source_code_info::Location;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, SourceCodeInfo};

/// Comments by the full names of what they describe.
pub(super) type Comments = HashMap<String, String>;

// Field numbers in descriptor.proto: what a path is made of.
const FILE_MESSAGE: i32 = 4;
const FILE_ENUM: i32 = 5;
const FILE_SERVICE: i32 = 6;
const MESSAGE_FIELD: i32 = 2;
const MESSAGE_NESTED: i32 = 3;
const MESSAGE_ENUM: i32 = 4;
const MESSAGE_ONEOF: i32 = 8;
const ENUM_VALUE: i32 = 2;
const SERVICE_METHOD: i32 = 2;

/// Visits every element with its path (as in `SourceCodeInfo.Location`) and its full name. The values of an enum have
/// names beside the enum's, not below it.
pub(super) fn walk(file: &FileDescriptorProto, visit: &mut dyn FnMut(&[i32], &str)) {
    let mut walk = Walk { path: Vec::new(), visit };
    for (at, service) in (0..).zip(&file.service) {
        let name = format!("{}.{}", file.package(), service.name());
        walk.within([FILE_SERVICE, at], &name, |walk| {
            for (at, method) in (0..).zip(&service.method) {
                walk.within([SERVICE_METHOD, at], &format!("{name}.{}", method.name()), |_| {});
            }
        });
    }
    walk.messages(FILE_MESSAGE, file.package(), &file.message_type);
    walk.enums(FILE_ENUM, file.package(), &file.enum_type);
}

struct Walk<'v> {
    path: Vec<i32>,
    visit: &'v mut dyn FnMut(&[i32], &str),
}

impl Walk<'_> {
    fn within(&mut self, step: [i32; 2], name: &str, inner: impl FnOnce(&mut Self)) {
        self.path.extend(step);
        (self.visit)(&self.path, name);
        inner(self);
        self.path.truncate(self.path.len() - step.len());
    }

    fn messages(&mut self, step: i32, scope: &str, messages: &[DescriptorProto]) {
        for (at, message) in (0..).zip(messages) {
            let name = format!("{scope}.{}", message.name());
            self.within([step, at], &name, |walk| {
                for (at, field) in (0..).zip(&message.field) {
                    walk.within([MESSAGE_FIELD, at], &format!("{name}.{}", field.name()), |_| {});
                }
                for (at, oneof) in (0..).zip(&message.oneof_decl) {
                    walk.within([MESSAGE_ONEOF, at], &format!("{name}.{}", oneof.name()), |_| {});
                }
                walk.messages(MESSAGE_NESTED, &name, &message.nested_type);
                walk.enums(MESSAGE_ENUM, &name, &message.enum_type);
            });
        }
    }

    fn enums(&mut self, step: i32, scope: &str, enums: &[EnumDescriptorProto]) {
        for (at, of) in (0..).zip(enums) {
            self.within([step, at], &format!("{scope}.{}", of.name()), |walk| {
                for (at, value) in (0..).zip(&of.value) {
                    walk.within([ENUM_VALUE, at], &format!("{scope}.{}", value.name()), |_| {});
                }
            });
        }
    }
}

/// The leading comments of a file.
pub(super) fn comments(file: &FileDescriptorProto) -> Comments {
    let info = file.source_code_info.iter().flat_map(|info| &info.location);
    let by_path: HashMap<&[i32], &str> =
        info.filter_map(|at| Some((at.path.as_slice(), at.leading_comments.as_deref()?))).collect();
    let mut comments = Comments::new();
    walk(file, &mut |path, name| {
        if let Some(text) = by_path.get(path) {
            comments.insert(name.to_owned(), (*text).to_owned());
        }
    });
    comments
}

/// Hangs these comments on the paths that their elements have now.
pub(super) fn set_comments(file: &mut FileDescriptorProto, comments: &Comments) {
    let mut location = Vec::new();
    walk(file, &mut |path, name| {
        if let Some(text) = comments.get(name) {
            let span = vec![0, 0, 0];
            let leading_comments = Some(text.clone());
            location.push(Location { path: path.to_vec(), span, leading_comments, ..Location::default() });
        }
    });
    file.source_code_info = Some(SourceCodeInfo { location });
}

/// A doc comment the way that a compiler of `.proto` files keeps it: a space before each line, a line end after it.
pub(super) fn comment(docs: &str) -> String {
    let mut text = String::with_capacity(docs.len() + 8);
    for line in docs.lines() {
        let line = line.trim_end();
        if !line.is_empty() {
            text.push(' ');
        }
        text.extend(line.chars().filter(|c| !c.is_control() || *c == '\t'));
        text.push('\n');
    }
    text
}
