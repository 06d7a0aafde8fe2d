//! A guest that answers what it is asked.

arcana_sdk::bindings!({
    path: ["../../../../wit/types", "wit"],
    world: "test:echo/guest",
    with: { "arcana:types/types@1.0.0": arcana_sdk::types },
});

use arcana_sdk::{FieldError, Problem, ProblemKind, Result};
use bindings::exports::test::echo::kitchen::{
    Collected, Color, Guest, Lists, Options, Outcomes, PersonPatch, Scalars, Shape, Toppings, Tuples,
};

struct Plugin;

impl Guest for Plugin {
    fn hello(name: String) -> String {
        let mut greeting = String::with_capacity(name.len() + 8);
        greeting.push_str("Hello, ");
        greeting.push_str(&name);
        greeting.push('!');
        greeting
    }

    fn echo_scalars(value: Scalars) -> Scalars {
        value
    }

    fn echo_options(value: Options) -> Options {
        value
    }

    fn echo_lists(value: Lists) -> Lists {
        value
    }

    fn echo_tuples(value: Tuples) -> Tuples {
        value
    }

    fn echo_shapes(shapes: Vec<Shape>) -> Vec<Shape> {
        shapes
    }

    fn echo_shape(shape: Shape) -> Shape {
        shape
    }

    fn echo_outcomes(value: Outcomes) -> Outcomes {
        value
    }

    fn echo_patch(_id: String, patch: PersonPatch) -> PersonPatch {
        patch
    }

    fn echo_color(color: Color) -> Color {
        color
    }

    fn echo_toppings(toppings: Toppings) -> Toppings {
        toppings
    }

    fn echo_maybe(text: Option<String>) -> Option<String> {
        text
    }

    fn echo_bytes(data: Vec<u8>) -> Vec<u8> {
        data
    }

    fn add(left: u32, right: u32) -> u64 {
        u64::from(left) + u64::from(right)
    }

    fn several(id: String, count: u32, color: Option<Color>, tags: Vec<String>, flag: Option<bool>) -> Collected {
        Collected { id, count, color, tags, flag }
    }

    fn nothing() {}

    fn nothing_fallible() -> Result<()> {
        Ok(())
    }

    fn half(number: u32) -> Result<u32> {
        if number.is_multiple_of(2) {
            Ok(number / 2)
        } else {
            Err(Problem::invalid("number", "ODD", "an even number is needed"))
        }
    }

    fn fail(kind: ProblemKind) -> Result<()> {
        Err(Problem::new(kind, "as you wished"))
    }

    fn fail_with(
        kind: ProblemKind,
        code: Option<String>,
        message: String,
        details: Vec<FieldError>,
        retry_after_ms: Option<u64>,
    ) -> Result<String> {
        Err(Problem { kind, code, message, details, retry_after_ms })
    }
}

bindings::export!(Plugin with_types_in bindings);
