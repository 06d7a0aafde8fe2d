//! Hostile plugin files. They are packed without any check, because `arcana plugin pack` refuses some of them.

use anyhow::{Context, Result};
use arcana_signing::SecretKey;
use arcana_signing::envelope::{COMPONENT_HEADER, MANIFEST_SECTION, sign};
use serde_json::json;
use wasm_encoder::{
    CodeSection, Component, ComponentSection as _, ConstExpr, CustomSection, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, InstanceSection, Instruction, Module, ModuleArg, ModuleSection,
    TypeSection, ValType,
};

/// The section that holds the migrations of a plugin's stores.
const MIGRATIONS_SECTION: &str = "arcana:migrations";

/// Packs and signs a component with its manifest and, optionally, one migration of the store `own`.
///
/// # Errors
/// The input is not a component.
pub(crate) fn pack(component: &[u8], manifest: &str, migration: Option<&str>, key: &SecretKey) -> Result<Vec<u8>> {
    let sections = component.strip_prefix(&COMPONENT_HEADER).context("this is no component")?;
    let mut file = COMPONENT_HEADER.to_vec();
    append(&mut file, MANIFEST_SECTION, manifest.as_bytes());
    file.extend_from_slice(sections);
    if let Some(sql) = migration {
        let stores = json!({ "own": { "sqlite": [{ "version": 1, "name": "first", "sql": sql }] } });
        append(&mut file, MIGRATIONS_SECTION, stores.to_string().as_bytes());
    }
    Ok(sign(&file, &[key])?)
}

fn append(file: &mut Vec<u8>, name: &str, data: &[u8]) {
    CustomSection { name: name.into(), data: data.into() }.append_to_component(file);
}

/// The manifest of `test/<name>`, whose `api.f` answers at `POST /test/<name>`.
pub(crate) fn manifest(name: &str, seq: u64, more: &str) -> String {
    let method = format!("\n[[methods]]\ncall = \"api.f\"\nhttp = \"POST /test/{name}\"\nallow = \"public\"\n");
    bare_manifest(name, seq) + &method + more
}

/// The manifest of `test/<name>` without methods.
pub(crate) fn bare_manifest(name: &str, seq: u64) -> String {
    format!("[plugin]\nid = \"test/{name}\"\nversion = \"1.0.{seq}\"\nseq = {seq}\nhost = \"0.1\"\n")
}

/// The part of a manifest that declares a store of its own.
pub(crate) const OWN_STORE: &str =
    "\n[capabilities]\nstores = [\"own\"]\n\n[stores.own]\nowner = true\nmigrations = \"migrations\"\n";

/// A component whose `test:<name>/api.f` answers this number.
///
/// # Errors
/// The text is malformed.
pub(crate) fn answering(name: &str, number: u32) -> Result<Vec<u8>> {
    Ok(wat::parse_str(format!(
        r#"(component
          (core module $m (func (export "f") (result i32) i32.const {number}))
          (core instance $i (instantiate $m))
          (alias core export $i "f" (core func $f))
          (type $function (func (result u32)))
          (func $lifted (type $function) (canon lift (core func $f)))
          (instance $api (export "f" (func $lifted)))
          (export "test:{name}/api@1.0.0" (instance $api)))"#
    ))?)
}

/// A component whose `f(count, turns)` creates and keeps `count` handles and then loops `turns` times.
///
/// # Errors
/// The text is malformed.
pub(crate) fn handles(name: &str) -> Result<Vec<u8>> {
    Ok(wat::parse_str(format!(
        r#"(component
          (type $thing (resource (rep i32)))
          (core func $new (canon resource.new $thing))
          (core module $m
            (import "host" "new" (func $new (param i32) (result i32)))
            (func (export "f") (param $count i32) (param $turns i32) (result i32) (local $at i32)
              (loop $more
                (drop (call $new (local.get $at)))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br_if $more (i32.lt_u (local.get $at) (local.get $count))))
              (loop $turn
                (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
                (br_if $turn (i32.gt_s (local.get $turns) (i32.const 0))))
              (local.get $at)))
          (core instance $i (instantiate $m (with "host" (instance (export "new" (func $new))))))
          (alias core export $i "f" (core func $f))
          (type $function (func (param "count" u32) (param "turns" u32) (result u32)))
          (func $lifted (type $function) (canon lift (core func $f)))
          (instance $api (export "f" (func $lifted)))
          (export "test:{name}/api@1.0.0" (instance $api)))"#
    ))?)
}

/// A component whose `f` takes a tuple of two tuples of two tuples …: each level adds few bytes and doubles the expanded type.
///
/// # Errors
/// The text is malformed.
pub(crate) fn type_bomb(name: &str, depth: u32) -> Result<Vec<u8>> {
    let types: String = (1..depth).map(|at| format!("(type $t{at} (tuple $t{0} $t{0}))", at - 1)).collect();
    Ok(wat::parse_str(format!(
        r#"(component (type $t0 (tuple u8 u8)) {types}
          (core module $m (memory (export "memory") 1) (func (export "f") (param i32))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))
          (core instance $i (instantiate $m))
          (alias core export $i "memory" (core memory $memory))
          (alias core export $i "f" (core func $f))
          (alias core export $i "realloc" (core func $realloc))
          (type $function (func (param "a" $t{last})))
          (func $lifted (type $function) (canon lift (core func $f) (memory $memory) (realloc $realloc)))
          (instance $api (export "f" (func $lifted)))
          (export "test:{name}/api@1.0.0" (instance $api)))"#,
        last = depth - 1
    ))?)
}

/// A component that passes every check by counting and takes the compiler tens of seconds. Each number gives another one.
pub(crate) fn laborious(number: u32) -> Vec<u8> {
    let mut function = Function::new([(8, ValType::I64)]);
    let mut add = |instructions: &[Instruction<'_>]| {
        for instruction in instructions {
            function.instruction(instruction);
        }
    };
    // The compiler can neither fold nor drop any of it.
    for local in 0..8 {
        add(&[Instruction::GlobalGet(0), Instruction::LocalSet(local)]);
    }
    for at in 0..12_000_u32 {
        let (from, to) = (at % 8, (at * 5 + 3) % 8);
        add(&[Instruction::LocalGet(from), Instruction::I64Const(i64::from(at ^ number) * 77), Instruction::I64Mul]);
        add(&[Instruction::LocalGet(to), Instruction::I64Xor, Instruction::I64Popcnt, Instruction::LocalSet(to)]);
    }
    for local in 0..8 {
        add(&[Instruction::LocalGet(local), Instruction::GlobalSet(0)]);
    }
    add(&[Instruction::End]);

    let mut types = TypeSection::new();
    types.ty().function([], []);
    let (mut declared, mut exports, mut code) = (FunctionSection::new(), ExportSection::new(), CodeSection::new());
    for index in 0..80 {
        declared.function(0);
        exports.export(&format!("f{index}"), ExportKind::Func, index);
        code.function(&function);
    }
    let mut globals = GlobalSection::new();
    let kind = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
    globals.global(kind, &ConstExpr::i64_const(1));
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&globals).section(&exports).section(&code);
    // Only instantiated modules are compiled.
    let mut instances = InstanceSection::new();
    instances.instantiate::<[(&str, ModuleArg); 0], &str>(0, []);
    let mut component = Component::new();
    component.section(&ModuleSection(&module)).section(&instances);
    component.finish()
}

/// A migration whose views each double the expansion of a statement over them.
pub(crate) fn doubling_views(steps: u32) -> String {
    let views: String =
        (1..=steps).map(|at| format!("CREATE VIEW v{at} AS SELECT p.x FROM v{0} p, v{0} q;\n", at - 1)).collect();
    format!(
        "CREATE TABLE t (x INTEGER) STRICT;\nCREATE VIEW v0 AS SELECT 1 AS x;\n{views}INSERT INTO t SELECT x FROM v{steps};\n"
    )
}

/// A migration in which each trigger fires the next one.
pub(crate) fn chained_triggers(links: u32) -> String {
    let tables: String = (0..=links).map(|at| format!("CREATE TABLE t{at} (x INTEGER) STRICT;\n")).collect();
    let triggers: String = (0..links)
        .map(|at| {
            format!("CREATE TRIGGER r{at} AFTER INSERT ON t{at} BEGIN INSERT INTO t{} VALUES (new.x); END;\n", at + 1)
        })
        .collect();
    format!("{tables}{triggers}INSERT INTO t0 VALUES (1);\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_component_is_one() {
        for component in [answering("a", 1), handles("b"), type_bomb("c", 18), Ok(laborious(1))] {
            let component = component.unwrap();
            assert!(component.starts_with(&COMPONENT_HEADER));
            let file = pack(&component, &manifest("a", 1, ""), Some("SELECT 1"), &SecretKey::generate().unwrap());
            assert!(file.unwrap().len() > component.len());
        }
        assert!(type_bomb("c", 18).unwrap().len() < 1000);
        assert!(laborious(1) != laborious(2));
    }
}
