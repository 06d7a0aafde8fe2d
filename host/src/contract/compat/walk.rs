//! Goes over two contracts at once, one direction of one protocol at a time: types.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use super::diff::Diff;
use super::kinds::{self, Fit, default, is_change, spell};
use super::{Finding, Level, Protocol};
use crate::contract::names::{camel, snake};
use crate::contract::plan::PackageName;
use crate::contract::proto::form::is_plain;
use crate::contract::types::{Field, Labels, Type, TypeName, Variant};

/// What is said of an option that is none no more.
pub(super) const REQUIRED: &str = "was an option and is required: old clients may leave it out";

/// So many findings of a level are told.
pub(super) const MOST_FINDINGS: usize = 200;

/// A direction of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Way {
    pub(super) protocol: Protocol,
    pub(super) side: Side,
}

/// Who writes: in a request old clients, and the new plugin reads; in an answer the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Side {
    Request,
    Answer,
}

impl Way {
    pub(super) fn is_grpc(self) -> bool {
        self.protocol == Protocol::Grpc
    }

    pub(super) fn is_request(self) -> bool {
        self.side == Side::Request
    }
}

/// A field of a record, a parameter, a part of a tuple.
pub(super) struct Member<'t> {
    pub(super) name: Cow<'t, str>,
    pub(super) ty: &'t Arc<Type>,
}

pub(super) fn members(fields: &[Field]) -> Vec<Member<'_>> {
    fields.iter().map(|field| Member { name: field.name.as_str().into(), ty: &field.ty }).collect()
}

/// A case of an enum or a variant, a flag, either side of a result.
struct Case<'t> {
    name: &'t str,
    ty: Option<&'t Arc<Type>>,
}

#[derive(Default)]
pub(super) struct Walk {
    pub(super) findings: Vec<Finding>,
    /// Findings beyond [`MOST_FINDINGS`].
    pub(super) more: usize,
    /// Pairs of types that were compared already, by their places in memory.
    seen: HashSet<(usize, usize, Way)>,
}

impl Walk {
    /// Adds a finding. What is said twice is said once: for both protocols, or for the one that it is worse for.
    pub(super) fn add(&mut self, level: Level, protocol: Protocol, path: &str, message: String) {
        let told = self.findings.iter().filter(|found| found.level == level).count();
        let known = self.findings.iter_mut().find(|known| known.path == path && known.message == message);
        match known {
            Some(known) if known.level < level => {}
            Some(known) if known.level == level => {
                if !known.protocols.contains(&protocol) {
                    known.protocols.push(protocol);
                    known.protocols.sort_unstable();
                }
            }
            Some(known) => (known.level, known.protocols) = (level, vec![protocol]),
            // Each is compared with all that were found before.
            None if told >= MOST_FINDINGS => self.more += 1,
            None => self.findings.push(Finding { level, protocols: vec![protocol], path: path.to_owned(), message }),
        }
    }

    pub(super) fn breaking(&mut self, way: Way, path: &str, message: impl Into<String>) {
        self.add(Level::Breaking, way.protocol, path, message.into());
    }

    pub(super) fn notice(&mut self, way: Way, path: &str, message: impl Into<String>) {
        self.add(Level::Notice, way.protocol, path, message.into());
    }

    /// What was one type and is another one, that cannot be read as it.
    fn became(&mut self, way: Way, path: &str, old: &Type, new: &Type) {
        self.breaking(way, path, format!("was `{}` and is `{}`", spell(old), spell(new)));
    }

    /// The first thing that breaks where these are compared.
    pub(super) fn trial(compare: impl FnOnce(&mut Self)) -> Option<String> {
        let mut walk = Self::default();
        compare(&mut walk);
        walk.findings.into_iter().find(|finding| finding.level == Level::Breaking).map(|finding| finding.message)
    }

    /// The fields of a record, parameters, or the parts of a tuple; `word` is what one of them is called.
    pub(super) fn members(&mut self, way: Way, path: &str, word: &str, old: &[Member<'_>], new: &[Member<'_>]) {
        let names = |members: &[Member<'_>]| members.iter().map(|m| m.name.to_string()).collect::<Vec<_>>();
        let (was, is) = (names(old), names(new));
        let diff = Diff::of(&was, &is);
        for (at, before) in &diff.inserted {
            let (name, before) = (&is[*at], &is[*before]);
            if way.is_grpc() {
                self.breaking(way, path, inserted(word, name, before));
            } else {
                self.added(way, path, word, &new[*at]);
            }
        }
        for at in &diff.appended {
            self.added(way, path, word, &new[*at]);
        }
        for at in &diff.removed {
            self.breaking(way, path, format!("{word} `{}` was removed", was[*at]));
        }
        for pair in diff.moved.iter().filter(|_| way.is_grpc()) {
            self.breaking(way, path, moved(word, &was[pair.0], *pair));
        }
        for (a, b) in &diff.renamed {
            let (old, new, place) = (&old[*a], &new[*b], below(path, &is[*b]));
            let level = if way.is_grpc() { Level::Notice } else { Level::Breaking };
            let message = match Self::trial(|walk| walk.field(way, &place, old.ty, new.ty)) {
                None => format!("{word} `{}` was renamed to `{}`", was[*a], is[*b]),
                Some(_) => {
                    let (old, new) = (spell(old.ty), spell(new.ty));
                    let message = format!("{word} `{}: {old}` made way for `{}: {new}`", was[*a], is[*b]);
                    self.breaking(way, path, message);
                    continue;
                }
            };
            self.add(level, way.protocol, path, message);
        }
        for (a, b) in &diff.kept {
            self.field(way, &below(path, &is[*b]), old[*a].ty, new[*b].ty);
        }
    }

    /// A member that old clients do not know.
    fn added(&mut self, way: Way, path: &str, word: &str, member: &Member<'_>) {
        if !way.is_request() || is_change(member.ty) || matches!(**member.ty, Type::Option(_)) {
            return;
        }
        let name = &member.name;
        match default(member.ty) {
            Some(default) if way.is_grpc() => {
                let message =
                    format!("{word} `{name}` is new and no option: what old clients send is read as {default}");
                self.notice(way, path, message);
            }
            _ => self.breaking(way, path, format!("{word} `{name}` is new and required: make it an option")),
        }
    }

    /// A type as a field.
    pub(super) fn field(&mut self, way: Way, path: &str, old: &Arc<Type>, new: &Arc<Type>) {
        // For gRPC an option inside of which there is another one, a list or flags is a message.
        let by_presence = |a: &Type, b: &Type| !way.is_grpc() || is_plain(a) && is_plain(b);
        match (&**old, &**new) {
            // A member of a merge patch is written in a way of its own.
            (a, b) if !way.is_grpc() && is_change(a) != is_change(b) => self.became(way, path, a, b),
            // So is an option inside of another one: with a member `value` around it.
            (a, b) if !way.is_grpc() && is_wrapped(a) != is_wrapped(b) => self.became(way, path, a, b),
            (Type::Option(a), Type::Option(b)) => self.inside(way, path, &a.inner, &b.inner),
            (Type::List(a), Type::List(b)) => self.inside(way, path, a, b),
            (Type::Option(a), _) if by_presence(&a.inner, new) => {
                self.now_required(way, path, new);
                self.inside(way, path, &a.inner, new);
            }
            (_, Type::Option(b)) if by_presence(old, &b.inner) => {
                self.now_optional(way, path, old);
                self.inside(way, path, old, &b.inner);
            }
            (Type::List(_), _) | (_, Type::List(_)) => self.one_and_many(way, path, old, new),
            _ => self.inside(way, path, old, new),
        }
    }

    fn now_required(&mut self, way: Way, path: &str, new: &Type) {
        match (default(new).filter(|_| way.is_grpc()), way.side) {
            (None, Side::Request) => self.breaking(way, path, REQUIRED),
            (None, Side::Answer) => {}
            (Some(default), Side::Request) => {
                self.notice(
                    way,
                    path,
                    format!("was an option: where old clients leave it out it is read as {default}"),
                );
            }
            (Some(default), Side::Answer) => {
                self.notice(
                    way,
                    path,
                    format!("was an option: {default} is not written, which old clients read as none"),
                );
            }
        }
    }

    fn now_optional(&mut self, way: Way, path: &str, old: &Type) {
        match (default(old), way.side) {
            (Some(default), Side::Request) if way.is_grpc() => {
                self.notice(
                    way,
                    path,
                    format!("is an option: old clients do not write {default}, which is read as none"),
                );
            }
            (_, Side::Request) => {}
            (_, Side::Answer) if way.is_grpc() => {
                self.notice(way, path, "is an option: where it is none old clients read a default");
            }
            (_, Side::Answer) => {
                self.breaking(way, path, "is an option: old clients do not know that it can be `null`")
            }
        }
    }

    /// One value in gRPC is read as a list of one. Of many all but one would be lost, or all.
    fn one_and_many(&mut self, way: Way, path: &str, old: &Arc<Type>, new: &Arc<Type>) {
        let is_many = |ty: &Type| matches!(ty, Type::List(_));
        let one = |ty: &Arc<Type>| match &**ty {
            Type::Option(option) => option.inner.clone(),
            Type::List(item) => item.clone(),
            _ => ty.clone(),
        };
        let (a, b) = (one(old), one(new));
        let many_read = if way.is_request() { is_many(new) } else { is_many(old) };
        let fits = way.is_grpc() && many_read && is_plain(&a) && is_plain(&b);
        if fits && Self::trial(|walk| walk.inside(way, path, &a, &b)).is_none() {
            let (old, new) = (spell(old), spell(new));
            return self.notice(way, path, format!("was `{old}` and is `{new}`: one is read as a list of one"));
        }
        self.became(way, path, old, new);
    }

    /// A type that is in an option, a list or a oneof, or that is neither of these.
    fn inside(&mut self, way: Way, path: &str, old: &Arc<Type>, new: &Arc<Type>) {
        let wraps = |ty: &Type| matches!(ty, Type::Option(_) | Type::List(_));
        let null = |ty: &Type| !way.is_grpc() && matches!(ty, Type::Option(_));
        if wraps(old) && wraps(new) || null(old) || null(new) {
            // What is around it is a message in gRPC, whose field it is; in JSON there is nothing around it.
            return self.field(way, path, old, new);
        }
        match kinds::scalars(way, old, new) {
            Some(Fit::Yes) => return,
            Some(Fit::Notice(message)) => return self.notice(way, path, message),
            Some(Fit::No(message)) => return self.breaking(way, path, message),
            None => {}
        }
        let (was, is) = match (&**old, &**new) {
            (Type::Record(a), Type::Record(b)) => (&a.name, &b.name),
            (Type::Variant(a), Type::Variant(b)) => (&a.name, &b.name),
            (Type::Enum(a), Type::Enum(b)) | (Type::Flags(a), Type::Flags(b)) => (&a.name, &b.name),
            _ => return self.parts(way, path, old, new),
        };
        let place = |ty: &Arc<Type>| Arc::as_ptr(ty).addr();
        if !self.seen.insert((place(old), place(new), way)) {
            return;
        }
        let (was, is) = (full_name(was), full_name(is));
        if was == is {
            return self.parts(way, &is, old, new);
        }
        match Self::trial(|walk| walk.parts(way, &is, old, new)) {
            Some(why) => self.breaking(way, path, format!("was `{was}` and is `{is}`, which is not the same: {why}")),
            None if way.is_grpc() => self.notice(way, path, format!("`{was}` is called `{is}` in generated code")),
            None => {}
        }
    }

    /// What a type is made of.
    fn parts(&mut self, way: Way, path: &str, old: &Type, new: &Type) {
        match (old, new) {
            (Type::Record(a), Type::Record(b)) => {
                self.members(way, path, "field", &members(&a.fields), &members(&b.fields))
            }
            (Type::Tuple(a), Type::Tuple(b)) if way.is_grpc() || a.len() == b.len() => {
                self.members(way, path, "part", &tuple(a), &tuple(b));
            }
            (Type::Record(a), Type::Tuple(b)) if way.is_grpc() => {
                self.members(way, path, "field", &members(&a.fields), &tuple(b));
            }
            (Type::Tuple(a), Type::Record(b)) if way.is_grpc() => {
                self.members(way, path, "field", &tuple(a), &members(&b.fields));
            }
            (Type::Variant(a), Type::Variant(b)) => self.cases(way, path, "case", &cases(a), &cases(b)),
            (Type::Enum(a), Type::Enum(b)) => self.cases(way, path, "case", &labels(a), &labels(b)),
            (Type::Flags(a), Type::Flags(b)) => self.cases(way, path, "flag", &labels(a), &labels(b)),
            (Type::Result { ok, err }, Type::Result { ok: new_ok, err: new_err }) => {
                self.payload(way, &below(path, "ok"), ok.as_ref(), new_ok.as_ref());
                self.payload(way, &below(path, "err"), err.as_ref(), new_err.as_ref());
            }
            _ => self.became(way, path, old, new),
        }
    }

    fn cases(&mut self, way: Way, path: &str, word: &str, old: &[Case<'_>], new: &[Case<'_>]) {
        let names = |cases: &[Case<'_>]| cases.iter().map(|case| case.name.to_owned()).collect::<Vec<_>>();
        let (was, is) = (names(old), names(new));
        let diff = Diff::of(&was, &is);
        for (at, before) in diff.inserted.iter().filter(|_| way.is_grpc()) {
            self.breaking(way, path, inserted(word, &is[*at], &is[*before]));
        }
        let inserted = diff.inserted.iter().map(|(at, _)| at).filter(|_| !way.is_grpc());
        for at in diff.appended.iter().chain(inserted).filter(|_| !way.is_request()) {
            self.notice(way, path, format!("{word} `{}` is new: old clients do not know it in an answer", is[*at]));
        }
        for at in &diff.removed {
            let message = format!("{word} `{}` was removed", was[*at]);
            // Numbers change where another one follows.
            let follows = diff.kept.iter().any(|(kept, _)| kept > at);
            match way.is_request() || way.is_grpc() && follows {
                true => self.breaking(way, path, message),
                false => self.notice(way, path, message),
            }
        }
        for pair in diff.moved.iter().filter(|_| way.is_grpc()) {
            self.breaking(way, path, moved(word, &was[pair.0], *pair));
        }
        for (a, b) in &diff.renamed {
            let level = if way.is_grpc() { Level::Notice } else { Level::Breaking };
            self.add(level, way.protocol, path, format!("{word} `{}` was renamed to `{}`", was[*a], is[*b]));
        }
        for (a, b) in diff.kept.iter().chain(&diff.renamed) {
            self.payload(way, &below(path, &is[*b]), old[*a].ty, new[*b].ty);
        }
    }

    fn payload(&mut self, way: Way, path: &str, old: Option<&Arc<Type>>, new: Option<&Arc<Type>>) {
        match (old, new) {
            (None, None) => {}
            (Some(old), Some(new)) => self.inside(way, path, old, new),
            (Some(old), None) => self.breaking(way, path, format!("had a `{}` and has no payload", spell(old))),
            (None, Some(new)) => self.breaking(way, path, format!("had no payload and has a `{}`", spell(new))),
        }
    }
}

fn is_wrapped(ty: &Type) -> bool {
    matches!(ty, Type::Option(option) if option.wrapped)
}

fn inserted(word: &str, name: &str, before: &str) -> String {
    format!(
        "{word} `{name}` was inserted before `{before}`, which changes the numbers of `{before}` and all that follow: append \
         at the end"
    )
}

fn moved(word: &str, name: &str, (was, is): (usize, usize)) -> String {
    format!("{word} `{name}` had the number {} and has {}: keep the order", was + 1, is + 1)
}

/// The full name of a type in protobuf.
pub(super) fn full_name(name: &TypeName) -> String {
    format!("{}.{}", name.package.as_ref().map(PackageName::proto).unwrap_or_default(), camel(&name.name))
}

fn below(path: &str, name: &str) -> String {
    format!("{path}.{}", snake(name))
}

fn cases(variant: &Variant) -> Vec<Case<'_>> {
    variant.cases.iter().map(|case| Case { name: &case.name, ty: case.ty.as_ref() }).collect()
}

fn labels(labels: &Labels) -> Vec<Case<'_>> {
    labels.list.iter().map(|label| Case { name: &label.name, ty: None }).collect()
}

fn tuple(types: &[Arc<Type>]) -> Vec<Member<'_>> {
    types.iter().enumerate().map(|(at, ty)| Member { name: format!("f{at}").into(), ty }).collect()
}
