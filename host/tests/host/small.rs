//! Components made in the test from WIT and text: they compile in milliseconds, and their bytes can be anything.

use std::collections::BTreeMap;
use std::path::Path;

use arcana_signing::{SecretKey, envelope};
use serde_json::Value;
use wasm_encoder::{
    CodeSection, Component, ComponentSection as _, ConstExpr, CustomSection, ExportKind, ExportSection, Function,
    FunctionSection, GlobalSection, GlobalType, InstanceSection, Instruction, Module, ModuleArg, ModuleSection,
    NestedComponentSection, TypeSection, ValType,
};
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, WorldItem};

use crate::support::{Host, KEY, Setup};

/// A core module that carries its component type, as wit-bindgen leaves it for wasm32-unknown-unknown. The WIT's world is `w`.
pub fn core_module(wit: &str, text: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("small.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("w")).unwrap();
    let mut module = wat::parse_str(text).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false).unwrap();
    module
}

/// The core module of a plugin whose `api.answer` answers this number.
pub fn answering(name: &str, number: u32) -> Vec<u8> {
    answering_after(name, number, "")
}

/// The same with more in the module, such as what is done when it starts.
pub fn answering_after(name: &str, number: u32, more: &str) -> Vec<u8> {
    core_module(
        &wit(name),
        &format!(
            r#"(module (memory (export "memory") 1) {more}
                 (func (export "test:{name}/api@1.0.0#answer") (result i32) i32.const {number}))"#
        ),
    )
}

/// The WIT of such a plugin.
pub fn wit(name: &str) -> String {
    format!(
        "package test:{name}@1.0.0;\n/// Small.\ninterface api {{\n  /// Answers a number.\n  answer: func() -> u32;\n}}\n\
         world w {{ export api; }}"
    )
}

/// The manifest of a plugin without methods.
pub fn bare_manifest(id: &str, seq: u64) -> String {
    format!("[plugin]\nid = \"{id}\"\nversion = \"1.0.{seq}\"\nseq = {seq}\nhost = \"0.1\"\n")
}

/// The manifest of `test/<name>`, which answers at `GET /<name>`.
pub fn manifest(name: &str, seq: u64) -> String {
    manifest_of(&format!("test/{name}"), seq, &format!("/{name}"))
}

/// The manifest of a plugin that answers at this path.
pub fn manifest_of(id: &str, seq: u64, path: &str) -> String {
    let method = format!("[[methods]]\ncall = \"api.answer\"\nhttp = \"GET {path}\"\nallow = \"public\"\n");
    bare_manifest(id, seq) + &method
}

/// The core module of any world `w` that exports interfaces: its functions are there and trap when they are called.
pub fn unreachable_module(wit: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("any.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("w")).unwrap();
    let words = |types: &[WasmType]| {
        let word = |ty: &WasmType| match ty {
            WasmType::I64 | WasmType::PointerOrI64 => "i64",
            WasmType::F32 => "f32",
            WasmType::F64 => "f64",
            WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
        };
        types.iter().map(word).collect::<Vec<_>>().join(" ")
    };
    let mut text = String::new();
    for (key, item) in &resolve.worlds[world].exports {
        let WorldItem::Interface { id, .. } = item else { panic!("only interfaces") };
        for (name, function) in &resolve.interfaces[*id].functions {
            let signature = resolve.wasm_signature(AbiVariant::GuestExport, function);
            let (params, results) = (words(&signature.params), words(&signature.results));
            let export = format!("{}#{name}", resolve.name_world_key(key));
            text += &format!("(func (export \"{export}\") (param {params}) (result {results}) unreachable)\n");
        }
    }
    let realloc = r#"(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)"#;
    core_module(wit, &format!("(module (memory (export \"memory\") 1) {realloc} {text})"))
}

/// Packed and signed by these keys.
pub fn signed_by(keys: &[&SecretKey], component: &[u8], manifest: &str) -> Vec<u8> {
    let packed = arcana::plugins::pack::pack(component, manifest, &[], Path::new(".")).unwrap();
    envelope::sign(&packed, keys).unwrap()
}

/// Packed and signed by [`KEY`].
pub fn signed(component: &[u8], manifest: &str) -> Vec<u8> {
    signed_by(&[&KEY], component, manifest)
}

/// Signed by [`KEY`] without a look at what it is, as a hostile author would do it.
pub fn signed_unseen(component: &[u8], manifest: &str) -> Vec<u8> {
    let mut file = envelope::COMPONENT_HEADER.to_vec();
    let section = CustomSection { name: envelope::MANIFEST_SECTION.into(), data: manifest.as_bytes().into() };
    section.append_to_component(&mut file);
    file.extend_from_slice(component.strip_prefix(&envelope::COMPONENT_HEADER).unwrap());
    envelope::sign(&file, &[&KEY]).unwrap()
}

/// The whole plugin: `test/<name>` answers this number at `GET /<name>`.
pub fn plugin(name: &str, seq: u64, number: u32) -> Vec<u8> {
    signed(&answering(name, number), &manifest(name, seq))
}

/// A component around an instance of a core module with these functions of type `() -> ()`, which it exports, and one global.
pub fn functions(functions: &[Function]) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let (mut declared, mut exports, mut code) = (FunctionSection::new(), ExportSection::new(), CodeSection::new());
    for (function, index) in functions.iter().zip(0..) {
        declared.function(0);
        exports.export(&format!("f{index}"), ExportKind::Func, index);
        code.function(function);
    }
    let mut globals = GlobalSection::new();
    let kind = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
    globals.global(kind, &ConstExpr::i64_const(1));
    let mut module = Module::new();
    module.section(&types).section(&declared).section(&globals).section(&exports).section(&code);
    // What is never instantiated is never compiled.
    let mut instances = InstanceSection::new();
    instances.instantiate::<[(&str, ModuleArg); 0], &str>(0, []);
    let mut component = Component::new();
    component.section(&ModuleSection(&module)).section(&instances);
    component.finish()
}

/// A component whose one function has so many locals, each declared by itself.
pub fn with_locals(locals: u32) -> Vec<u8> {
    let groups = (0..locals).map(|at| (1, if at % 2 == 0 { ValType::I32 } else { ValType::I64 }));
    let mut function = Function::new(groups);
    function.instruction(&Instruction::End);
    functions(&[function])
}

/// Components in components.
pub fn nested(depth: usize) -> Vec<u8> {
    let whole = (1..depth).fold(Component::new(), |inner, _| {
        let mut outer = Component::new();
        outer.section(&NestedComponentSection(&inner));
        outer
    });
    whole.finish()
}

/// A component that passes every check by counting and keeps a compiler busy for seconds.
pub fn laborious() -> Vec<u8> {
    let mut function = Function::new([(8, ValType::I64)]);
    let mut add = |instructions: &[Instruction<'_>]| {
        for instruction in instructions {
            function.instruction(instruction);
        }
    };
    // Nothing of it can be computed by the compiler, and nothing left out.
    for local in 0..8 {
        add(&[Instruction::GlobalGet(0), Instruction::LocalSet(local)]);
    }
    for at in 0..12_000_u32 {
        let (from, to) = (at % 8, (at * 5 + 3) % 8);
        add(&[Instruction::LocalGet(from), Instruction::I64Const(i64::from(at) * 77), Instruction::I64Mul]);
        add(&[Instruction::LocalGet(to), Instruction::I64Xor, Instruction::I64Popcnt, Instruction::LocalSet(to)]);
    }
    for local in 0..8 {
        add(&[Instruction::LocalGet(local), Instruction::GlobalSet(0)]);
    }
    add(&[Instruction::End]);
    functions(&vec![function; 60])
}

/// A component with a function `f` in `test:<name>/api@1.0.0`, whose parameter `a` has the last of these types. They are
/// numbered from 0, and 0 is `tuple<u8>`.
pub fn with_types(name: &str, count: u32, next: impl Fn(u32) -> String) -> Vec<u8> {
    let types: String = (1..count).map(|at| format!("(type $t{at} {})", next(at - 1))).collect();
    let text = format!(
        r#"(component (type $t0 (tuple u8)) {types}
          (core module $m (memory (export "memory") 1) (func (export "f") (param i32 i32))
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0))
          (core instance $i (instantiate $m))
          (alias core export $i "memory" (core memory $memory))
          (alias core export $i "f" (core func $f))
          (alias core export $i "realloc" (core func $realloc))
          (type $function (func (param "a" $t{last})))
          (func $lifted (type $function) (canon lift (core func $f) (memory $memory) (realloc $realloc)))
          (instance $api (export "f" (func $lifted)))
          (export "test:{name}/api@1.0.0" (instance $api)))"#,
        last = count - 1
    );
    wat::parse_str(text).unwrap()
}

/// What was refused at the start, by the file's name without its ending (or by the plugin's id): code and reason. The host
/// must log JSON, as those of [`json_log`] do.
pub fn refused(host: &Host) -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    for line in events(host, "plugin refused") {
        let text = |key: &str| line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}")).to_owned();
        let (what, mut name) = (text("plugin"), text("plugin"));
        if what.ends_with(".wasm") {
            name = Path::new(&what).file_stem().unwrap().to_str().unwrap().to_owned();
        }
        assert_eq!(line["level"], "ERROR", "{line}");
        let twice = found.insert(name, (text("code"), text("reason")));
        assert!(twice.is_none(), "{what} is refused twice: {}", host.log());
    }
    found
}

/// The codes alone.
pub fn codes(host: &Host) -> BTreeMap<String, String> {
    refused(host).into_iter().map(|(name, (code, _))| (name, code)).collect()
}

/// Codes by name, to compare with.
pub fn expect<const N: usize>(codes: [(&str, &str); N]) -> BTreeMap<String, String> {
    codes.into_iter().map(|(name, code)| (name.to_owned(), code.to_owned())).collect()
}

/// The events of the log with this message.
pub fn events(host: &Host, message: &str) -> Vec<Value> {
    let log = host.log();
    let lines = log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    lines.filter(|line: &Value| line["message"] == message).collect()
}

/// A setup whose host logs JSON.
pub fn json_log() -> Setup {
    Setup::new().env("ARCANA_OBSERVABILITY__LOG__FORMAT", "json")
}

/// Kills the host; the next one with its data begins a new log.
pub fn stopped(host: Host) -> Setup {
    let setup = host.kill();
    std::fs::remove_file(setup.path("host.log")).unwrap();
    setup
}

/// The status and the number that a small plugin answers; null where there is none.
pub async fn answer(host: &Host, path: &str) -> (u16, Value) {
    let (status, value) = host.get(path).await;
    (status, if status == 200 { value } else { Value::Null })
}

/// How many plugins are active and how many were refused, as `/health` tells it.
pub async fn health(host: &Host) -> (u64, u64) {
    let (status, health) = host.get("/health").await;
    assert_eq!(status, 200, "{health}");
    (health["plugins"].as_u64().unwrap(), health["failed"].as_u64().unwrap())
}
