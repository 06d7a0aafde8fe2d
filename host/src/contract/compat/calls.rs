//! Goes over two contracts at once: what functions take and answer.

use super::Protocol;
use super::walk::{Member, REQUIRED, Side, Walk, Way, full_name, members};
use crate::contract::bind::Binding;
use crate::contract::plan::FunctionPlan;
use crate::contract::types::{Field, Type, TypeName};

/// What a request or a response is made of.
struct Message<'t> {
    /// Absent where it is derived from a function.
    name: Option<&'t TypeName>,
    members: Vec<Member<'t>>,
}

impl Message<'_> {
    fn words(&self) -> String {
        match (self.name, self.members.as_slice()) {
            (Some(name), _) => format!("the record `{}`", name.name),
            (None, []) => "empty".to_owned(),
            (None, members) => {
                let names: Vec<String> = members.iter().map(|member| format!("`{}`", member.name)).collect();
                format!("made of {}", names.join(", "))
            }
        }
    }
}

impl Walk {
    /// The request of a method over gRPC.
    pub(super) fn request(&mut self, path: &str, old: &FunctionPlan, new: &FunctionPlan) {
        fn message(plan: &FunctionPlan) -> Message<'_> {
            match plan.request_record() {
                Some(record) => Message { name: Some(&record.name), members: members(&record.fields) },
                None => Message { name: None, members: members(&plan.params) },
            }
        }
        let hint = "; a single record is the request itself: append to it instead of adding a parameter";
        let (old, new) = (message(old), message(new));
        let hint = if old.name.is_some() && new.name.is_none() { hint } else { "" };
        let way = Way { protocol: Protocol::Grpc, side: Side::Request };
        self.message(way, path, ("request", "parameter"), &old, &new, hint);
    }

    /// The response of a method over gRPC.
    pub(super) fn response(&mut self, path: &str, old: &FunctionPlan, new: &FunctionPlan) {
        fn message(plan: &FunctionPlan) -> Message<'_> {
            match plan.result.ok.as_ref().map(|ty| (ty, &**ty)) {
                None => Message { name: None, members: Vec::new() },
                Some((_, Type::Record(record))) => {
                    Message { name: Some(&record.name), members: members(&record.fields) }
                }
                Some((ty, _)) => Message { name: None, members: vec![Member { name: "value".into(), ty }] },
            }
        }
        let way = Way { protocol: Protocol::Grpc, side: Side::Answer };
        self.message(way, path, ("answer", "result"), &message(old), &message(new), "");
    }

    fn message(
        &mut self,
        way: Way,
        path: &str,
        (what, word): (&str, &str),
        old: &Message<'_>,
        new: &Message<'_>,
        hint: &str,
    ) {
        let names = old.name.zip(new.name).map(|(old, new)| (full_name(old), full_name(new)));
        let (path_of_fields, word, is_same) = match &names {
            Some((old, new)) => (new.as_str(), "field", old == new),
            None => (path, word, old.name.is_none() && new.name.is_none()),
        };
        let compare = |walk: &mut Self| walk.members(way, path_of_fields, word, &old.members, &new.members);
        if is_same {
            return compare(self);
        }
        let message = format!("the {what} was {} and is {}", old.words(), new.words());
        match Self::trial(compare) {
            Some(_) => self.breaking(way, path, message + hint),
            None => self.notice(way, path, message),
        }
    }

    /// What a route reads.
    pub(super) fn inputs(&mut self, path: &str, old: &Binding, new: &Binding) {
        let way = Way { protocol: Protocol::Rest, side: Side::Request };
        for ((_, old), (_, new)) in old.path_fields().zip(new.path_fields()) {
            self.text(way, &format!("{path} {}", new.json_name), old, new);
        }
        self.query(way, path, old.query_fields(), new.query_fields());
        let whole = |binding: &Binding| match binding.body_type() {
            Some(Type::Record(record)) => Some(full_name(&record.name)),
            _ => None,
        };
        let (was, is) = (whole(old), whole(new));
        let body = new.body_fields();
        let holds = |name: &String| {
            body.iter().find(|field| matches!(&*field.ty, Type::Record(record) if full_name(&record.name) == *name))
        };
        if let (Some(record), None) = (&was, &is)
            && let Some(field) = holds(record)
        {
            let message = format!(
                "the body was `{record}` itself and has it as `{}`: append to that record instead of adding a parameter",
                field.json_name
            );
            return self.breaking(way, path, message);
        }
        let place = was.filter(|was| is.as_ref() == Some(was)).unwrap_or_else(|| path.to_owned());
        self.members(way, &place, "field", &members(old.body_fields()), &members(body));
    }

    fn query(&mut self, way: Way, path: &str, old: &[Field], new: &[Field]) {
        for field in old {
            let path = format!("{path} {}", field.json_name);
            match new.iter().find(|other| other.json_name == field.json_name) {
                Some(other) => self.text(way, &path, field, other),
                None => self.breaking(way, &path, "is no longer read from the query"),
            }
        }
        // Without its key in the query a list is empty.
        let may_be_absent = |field: &Field| matches!(*field.ty, Type::Option(_) | Type::List(_));
        let is_new = |field: &&Field| old.iter().all(|old| old.json_name != field.json_name);
        for field in new.iter().filter(is_new).filter(|field| !may_be_absent(field)) {
            let path = format!("{path} {}", field.json_name);
            self.breaking(way, &path, "is new in the query and required: make it an option");
        }
    }

    /// What is read from a text: whatever was one is a string as well.
    fn text(&mut self, way: Way, path: &str, old: &Field, new: &Field) {
        let is_string = matches!(new.ty.without_option(), Type::String);
        if !(is_string && old.ty.without_option().is_scalar()) {
            return self.field(way, path, &old.ty, &new.ty);
        }
        if matches!((&*old.ty, &*new.ty), (Type::Option(_), Type::String)) {
            self.breaking(way, path, REQUIRED);
        }
    }
}
