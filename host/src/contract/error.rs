//! Why a component cannot be published the way it is.

use super::fit::nearest;

/// A mistake in a component's type, its WIT or its manifest, told to the plugin's author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// The bytes are no component, or one that this host cannot read.
    #[error("the component's type cannot be read: {0}")]
    Unreadable(String),
    /// The bytes of an `arcana:wit` section are no WIT package.
    #[error("the section `arcana:wit` cannot be read: {0}")]
    UnreadableWit(String),
    /// The WIT of `arcana:wit` is not that of the component.
    #[error(
        "the section `arcana:wit` does not describe this component: {place}: the component has {component}, the WIT has {wit}"
    )]
    WitDiffers {
        /// Interface, function or type, and the part of it that differs.
        place: String,
        /// What the component has there.
        component: String,
        /// What the WIT has there.
        wit: String,
    },
    /// No export has this name.
    #[error("no exported {what} `{name}`{}", found(.name, .available))]
    NotExported {
        /// "interface" or "function".
        what: &'static str,
        /// The name that was asked for.
        name: String,
        /// The names there are.
        available: Vec<String>,
    },
    /// A call that is not written `interface.function`.
    #[error("`{0}` is not of the form `interface.function`")]
    BadCall(String),
    /// A parameter has a type that has no form in JSON.
    #[error(
        "function `{function}` of `{interface}` cannot be published: parameter `{parameter}` has the type `{ty}`: {reason}"
    )]
    Parameter {
        /// The full name of the interface.
        interface: String,
        /// The function.
        function: String,
        /// The parameter.
        parameter: String,
        /// The type of the parameter as WIT.
        ty: String,
        /// Which part of it is to blame, and why.
        reason: String,
    },
    /// A result has a type that has no form in JSON, or an error type other than `problem`.
    #[error("function `{function}` of `{interface}` cannot be published: its result has the type `{ty}`: {reason}")]
    Result {
        /// The full name of the interface.
        interface: String,
        /// The function.
        function: String,
        /// The type of the result as WIT.
        ty: String,
        /// Which part of it is to blame, and why.
        reason: String,
    },
    /// A function of a kind that cannot be published.
    #[error("function `{function}` of `{interface}` cannot be published: {reason}")]
    Function {
        /// The full name of the interface.
        interface: String,
        /// The function.
        function: String,
        /// Why not.
        reason: String,
    },
    /// Two things would have the same name on the wire.
    #[error("{first} and {second} would both be called `{name}`")]
    Collision {
        /// The name on the wire.
        name: String,
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
    /// A route and a function do not fit together.
    #[error("function `{function}` cannot be bound to its route: {reason}")]
    Binding {
        /// The function.
        function: String,
        /// Which parameter, and why.
        reason: String,
    },
}

fn found(name: &str, available: &[String]) -> String {
    // A name may be written with its interface or its package in front, and with a version at the end.
    let short = |name: &str| -> String {
        let name = name.rsplit('/').next().unwrap_or(name);
        let (name, _) = name.split_once('@').unwrap_or((name, ""));
        name.rsplit('.').next().unwrap_or(name).to_owned()
    };
    let shorts: Vec<String> = available.iter().map(|name| short(name)).collect();
    let near = nearest(&short(name), shorts.iter().map(String::as_str))
        .and_then(|near| available.get(shorts.iter().position(|known| known == near)?))
        .map(|near| format!("; did you mean `{near}`?"))
        .unwrap_or_default();
    match available {
        [] => "; there are none".into(),
        names => format!("{near}; there are: {}", names.join(", ")),
    }
}
