//! A look at a component before it is compiled: what makes a compiler slow or hungry is refused by counting alone.
//!
//! Nothing is validated here and nothing is kept; the cost is one pass over the sections and no more memory than the depth.

use std::fmt;

use wasmparser::{
    BinaryReaderError, ComponentDefinedType, ComponentType, Encoding, MemoryType, Parser, Payload, TableType,
};

/// What a component, and what was packed beside it, may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrepassLimits {
    /// Levels of modules and components, the outermost one included.
    pub max_depth: usize,
    /// Bytes of one function body.
    pub max_function_body: usize,
    /// Locals of one function, parameters not included.
    pub max_locals: u32,
    /// Bytes that one memory has from the start.
    pub max_memory: u64,
    /// Memories in all modules together.
    pub max_memories: usize,
    /// Elements that one table has from the start.
    pub max_table: u64,
    /// Tables in all modules together.
    pub max_tables: usize,
    /// Core modules and components together.
    pub max_modules: usize,
    /// Instances that are made of them: each is linked and laid out by itself.
    pub max_instances: usize,
    /// Functions in all modules together.
    pub max_functions: usize,
    /// Types with their fields and cases, imports and exports in all modules and components together.
    pub max_items: usize,
    /// Parts of everything that it exports, each named type once (`limits.contract.parts`).
    pub max_parts: u64,
    /// Parts of everything that it exports with every type written out (`limits.contract.expanded`).
    pub max_expanded: u64,
    /// Bytes of all packed WIT together (`limits.contract.wit`).
    pub max_wit: usize,
    /// Migrations of all stores and databases together (`plugins.max_migrations`).
    pub max_migrations: usize,
    /// Bytes of SQL of one migration (`plugins.max_migration_bytes`).
    pub max_migration_bytes: usize,
}

impl Default for PrepassLimits {
    fn default() -> Self {
        Self {
            max_depth: 8,
            max_function_body: 256 << 10,
            max_locals: 2_000,
            max_memory: 64 << 20,
            max_memories: 16,
            max_table: 100_000,
            max_tables: 16,
            max_modules: 64,
            max_instances: 512,
            max_functions: 100_000,
            max_items: 200_000,
            max_parts: 20_000,
            max_expanded: 200_000,
            max_wit: 2 << 20,
            max_migrations: 1_000,
            max_migration_bytes: 1 << 20,
        }
    }
}

/// Why a component is not compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PrepassError {
    code: &'static str,
    message: String,
}

impl PrepassError {
    /// The stable code: `MALFORMED`, `NESTING_TOO_DEEP`, `FUNCTION_TOO_LARGE`, `TOO_MANY_LOCALS`, `MEMORY_TOO_LARGE`,
    /// `TABLE_TOO_LARGE`, `TOO_MANY_MEMORIES`, `TOO_MANY_TABLES`, `TOO_MANY_MODULES`, `TOO_MANY_INSTANCES`,
    /// `TOO_MANY_FUNCTIONS` or `TOO_MANY_ITEMS`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.code
    }
}

impl From<BinaryReaderError> for PrepassError {
    fn from(error: BinaryReaderError) -> Self {
        Self { code: "MALFORMED", message: format!("the component cannot be read: {error}") }
    }
}

/// Walks a whole component, nested ones included.
///
/// # Errors
/// The first limit that is passed, or that the bytes are no component.
pub fn check(bytes: &[u8], limits: &PrepassLimits) -> Result<(), PrepassError> {
    let mut walk = Walk { limits, memories: 0, tables: 0, modules: 0, instances: 0, functions: 0, items: 0 };
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding, .. } => {
                if depth == 0 && encoding != Encoding::Component {
                    return Err(refuse("MALFORMED", "the file is a core module and not a component"));
                }
                depth += 1;
                if depth > limits.max_depth {
                    return Err(refuse(
                        "NESTING_TOO_DEEP",
                        format!("modules are nested deeper than {}", limits.max_depth),
                    ));
                }
                count(&mut walk.modules, 1, limits.max_modules, "TOO_MANY_MODULES", "modules and components")?;
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            payload => walk.section(payload)?,
        }
    }
    Ok(())
}

struct Walk<'a> {
    limits: &'a PrepassLimits,
    memories: usize,
    tables: usize,
    modules: usize,
    instances: usize,
    functions: usize,
    items: usize,
}

impl Walk<'_> {
    fn section(&mut self, payload: Payload<'_>) -> Result<(), PrepassError> {
        match payload {
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memory(&memory?)?;
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    self.table(&table?.ty)?;
                }
            }
            Payload::CodeSectionStart { count: functions, .. } => {
                count(&mut self.functions, functions, self.limits.max_functions, "TOO_MANY_FUNCTIONS", "functions")?;
            }
            Payload::CodeSectionEntry(body) => {
                let len = body.as_bytes().len();
                let max = self.limits.max_function_body;
                if len > max {
                    return Err(refuse("FUNCTION_TOO_LARGE", format!("a function has {len} bytes, of at most {max}")));
                }
                let mut locals = 0_u32;
                for group in body.get_locals_reader()? {
                    locals = locals.saturating_add(group?.0);
                    let max = self.limits.max_locals;
                    if locals > max {
                        return Err(refuse(
                            "TOO_MANY_LOCALS",
                            format!("a function has {locals} or more locals, of at most {max}"),
                        ));
                    }
                }
            }
            Payload::InstanceSection(section) => self.instances(section.count())?,
            Payload::ComponentInstanceSection(section) => self.instances(section.count())?,
            Payload::TypeSection(section) => self.items(section.count())?,
            Payload::ImportSection(section) => self.items(section.count())?,
            Payload::ExportSection(section) => self.items(section.count())?,
            Payload::GlobalSection(section) => self.items(section.count())?,
            Payload::ElementSection(section) => self.items(section.count())?,
            Payload::DataSection(section) => self.items(section.count())?,
            Payload::CoreTypeSection(section) => self.items(section.count())?,
            Payload::ComponentTypeSection(section) => {
                for ty in section {
                    self.component_type(&ty?)?;
                }
            }
            Payload::ComponentAliasSection(section) => self.items(section.count())?,
            Payload::ComponentCanonicalSection(section) => self.items(section.count())?,
            Payload::ComponentImportSection(section) => self.items(section.count())?,
            Payload::ComponentExportSection(section) => self.items(section.count())?,
            Payload::UnknownSection { id, .. } => {
                return Err(refuse("MALFORMED", format!("there is a section with the unknown id {id}")));
            }
            _ => {}
        }
        Ok(())
    }

    /// A type counts with everything that it is made of: one entry of a section may have ten thousand fields.
    fn component_type(&mut self, ty: &ComponentType<'_>) -> Result<(), PrepassError> {
        use wasmparser::{ComponentTypeDeclaration as Of, InstanceTypeDeclaration as In};
        self.items(1)?;
        match ty {
            ComponentType::Defined(defined) => self.parts(match defined {
                ComponentDefinedType::Record(fields) => fields.len(),
                ComponentDefinedType::Variant(cases) => cases.len(),
                ComponentDefinedType::Tuple(types) => types.len(),
                ComponentDefinedType::Flags(names) | ComponentDefinedType::Enum(names) => names.len(),
                _ => 0,
            }),
            ComponentType::Func(function) => self.parts(function.params.len()),
            ComponentType::Component(declarations) => {
                declarations.iter().try_for_each(|declaration| match declaration {
                    Of::Type(ty) => self.component_type(ty),
                    _ => self.items(1),
                })
            }
            ComponentType::Instance(declarations) => {
                declarations.iter().try_for_each(|declaration| match declaration {
                    In::Type(ty) => self.component_type(ty),
                    _ => self.items(1),
                })
            }
            ComponentType::Resource { .. } => Ok(()),
        }
    }

    fn parts(&mut self, more: usize) -> Result<(), PrepassError> {
        self.items(u32::try_from(more).unwrap_or(u32::MAX))
    }

    fn memory(&mut self, memory: &MemoryType) -> Result<(), PrepassError> {
        count(&mut self.memories, 1, self.limits.max_memories, "TOO_MANY_MEMORIES", "memories")?;
        let page = 1_u64.checked_shl(memory.page_size_log2.unwrap_or(16)).unwrap_or(u64::MAX);
        let (initial, max) = (memory.initial.saturating_mul(page), self.limits.max_memory);
        if initial > max {
            return Err(refuse(
                "MEMORY_TOO_LARGE",
                format!("a memory has {initial} bytes from the start, of at most {max}"),
            ));
        }
        Ok(())
    }

    fn table(&mut self, table: &TableType) -> Result<(), PrepassError> {
        count(&mut self.tables, 1, self.limits.max_tables, "TOO_MANY_TABLES", "tables")?;
        let (initial, max) = (table.initial, self.limits.max_table);
        if initial > max {
            return Err(refuse(
                "TABLE_TOO_LARGE",
                format!("a table has {initial} elements from the start, of at most {max}"),
            ));
        }
        Ok(())
    }

    fn instances(&mut self, more: u32) -> Result<(), PrepassError> {
        count(&mut self.instances, more, self.limits.max_instances, "TOO_MANY_INSTANCES", "instances")
    }

    fn items(&mut self, more: u32) -> Result<(), PrepassError> {
        count(&mut self.items, more, self.limits.max_items, "TOO_MANY_ITEMS", "types, imports and exports")
    }
}

fn count(total: &mut usize, more: u32, max: usize, code: &'static str, what: &str) -> Result<(), PrepassError> {
    *total = total.saturating_add(usize::try_from(more).unwrap_or(usize::MAX));
    if *total > max {
        return Err(refuse(code, format!("the component has more than {max} {what}")));
    }
    Ok(())
}

fn refuse(code: &'static str, message: impl fmt::Display) -> PrepassError {
    PrepassError { code, message: message.to_string() }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{
        CodeSection, Component, Function, FunctionSection, Instruction, Module, ModuleSection, NestedComponentSection,
        TypeSection, ValType,
    };

    use super::*;

    fn answer(bytes: &[u8]) -> &'static str {
        check(bytes, &PrepassLimits::default()).map_or_else(|error| error.code(), |()| "ok")
    }

    fn component(wat: &str) -> Vec<u8> {
        wat::parse_str(format!("(component {wat})")).unwrap()
    }

    fn around(module: &Module) -> Vec<u8> {
        let mut component = Component::new();
        component.section(&ModuleSection(module));
        component.finish()
    }

    fn with_function(function: &Function) -> Vec<u8> {
        let mut types = TypeSection::new();
        types.ty().function([], []);
        let mut module = Module::new();
        module
            .section(&types)
            .section(FunctionSection::new().function(0))
            .section(CodeSection::new().function(function));
        around(&module)
    }

    /// 50,000 locals, each declared by itself: 100 KB that kept a compiler busy for a minute with gigabytes of memory.
    #[test]
    fn fifty_thousand_locals_are_refused() {
        let many = |locals: u32| {
            let groups = (0..locals).map(|at| (1, if at % 2 == 0 { ValType::I32 } else { ValType::I64 }));
            let mut function = Function::new(groups);
            function.instruction(&Instruction::End);
            with_function(&function)
        };
        assert_eq!(answer(&many(2_000)), "ok");
        assert_eq!(answer(&many(2_001)), "TOO_MANY_LOCALS");
        assert_eq!(answer(&many(50_000)), "TOO_MANY_LOCALS");
        let mut grouped = Function::new([(u32::MAX, ValType::I32), (u32::MAX, ValType::I64)]);
        grouped.instruction(&Instruction::End);
        assert_eq!(answer(&with_function(&grouped)), "TOO_MANY_LOCALS");
    }

    #[test]
    fn long_functions_are_refused() {
        let long = |bytes: usize| {
            let mut function = Function::new([]);
            // One byte for the number of groups of locals, one for the end.
            (0..bytes - 2).for_each(|_| {
                function.instruction(&Instruction::Nop);
            });
            function.instruction(&Instruction::End);
            with_function(&function)
        };
        assert_eq!(answer(&long(256 << 10)), "ok");
        assert_eq!(answer(&long((256 << 10) + 1)), "FUNCTION_TOO_LARGE");
    }

    #[test]
    fn deep_nesting_is_refused() {
        let nested = |depth: usize| {
            (1..depth).fold(Component::new(), |inner, _| {
                let mut outer = Component::new();
                outer.section(&NestedComponentSection(&inner));
                outer
            })
        };
        assert_eq!(answer(&nested(8).finish()), "ok");
        assert_eq!(answer(&nested(9).finish()), "NESTING_TOO_DEEP");
        assert_eq!(answer(&nested(500).finish()), "NESTING_TOO_DEEP");
    }

    #[test]
    fn large_memories_and_tables_are_refused() {
        assert_eq!(answer(&component("(core module (memory 1024) (table 100000 funcref))")), "ok");
        assert_eq!(answer(&component("(core module (memory 1025))")), "MEMORY_TOO_LARGE");
        assert_eq!(answer(&component("(core module (memory i64 0xffffffffffff))")), "MEMORY_TOO_LARGE");
        assert_eq!(answer(&component("(core module (table 100001 funcref))")), "TABLE_TOO_LARGE");
        let repeat = |what: &str, times: usize| component(&format!("(core module {})", what.repeat(times)));
        assert_eq!(answer(&repeat("(memory 1)", 17)), "TOO_MANY_MEMORIES");
        assert_eq!(answer(&repeat("(table 1 funcref)", 17)), "TOO_MANY_TABLES");
    }

    #[test]
    fn numbers_of_things_are_bounded_over_all_modules() {
        assert_eq!(answer(&component(&"(core module)".repeat(64))), "TOO_MANY_MODULES");
        let instances = format!("(core module $m) {}", "(core instance (instantiate $m))".repeat(513));
        assert_eq!(answer(&component(&instances)), "TOO_MANY_INSTANCES");
        let functions = format!("(core module {})", "(func)".repeat(50_001));
        assert_eq!(answer(&component(&functions)), "ok");
        assert_eq!(answer(&component(&functions.repeat(2))), "TOO_MANY_FUNCTIONS");
        let globals = format!("(core module {})", "(global i32 (i32.const 0))".repeat(200_001));
        assert_eq!(answer(&component(&globals)), "TOO_MANY_ITEMS");
    }

    /// One entry of a section may have ten thousand fields, and one in it another ten thousand.
    #[test]
    fn fields_and_declarations_of_types_are_counted() {
        let limits = PrepassLimits { max_items: 100, ..PrepassLimits::default() };
        let answer = |wat: &str| check(&component(wat), &limits).map_or_else(|error| error.code(), |()| "ok");
        let list = |count: usize, entry: &str| {
            (0..count).map(|at| entry.replace('#', &at.to_string())).collect::<Vec<_>>().join(" ")
        };
        for (open, entry, close) in [
            ("(type (record ", "(field \"f#\" u8)", "))"),
            ("(type (variant ", "(case \"f#\" u8)", "))"),
            ("(type (tuple ", "u8", "))"),
            ("(type (enum ", "\"f#\"", "))"),
            ("(type (flags ", "\"f#\"", "))"),
            ("(type (func ", "(param \"f#\" u8)", "))"),
            ("(type (instance ", "(type (list u8))", "))"),
            ("(type (component (type (instance ", "(type (list u8))", "))))"),
        ] {
            assert_eq!(answer(&format!("{open}{}{close}", list(90, entry))), "ok", "{open}");
            assert_eq!(answer(&format!("{open}{}{close}", list(101, entry))), "TOO_MANY_ITEMS", "{open}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        let good = component("(core module (func (local i32)))");
        for len in 0..good.len() {
            // Cut between two sections of the outermost component it is a shorter component.
            assert!(len == 8 || answer(&good[..len]) == "MALFORMED", "{len}");
        }
        assert_eq!(answer(&wat::parse_str("(module)").unwrap()), "MALFORMED");
        assert_eq!(answer(&[&good[..8], &[0x7f, 0]].concat()), "MALFORMED");
    }
}
