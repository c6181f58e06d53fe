//! Files, sockets and whatever else WASI knows: there, so that a component can be linked, and
//! denied.
//!
//! These interfaces are not implemented but answered by the shape of their functions: a
//! result fails with the code for denied access, a list is empty, an option is none, and
//! what cannot say no traps. So there is no code that could open a file.

use wasmtime::{
    Engine, Result,
    component::{
        Component, Linker, ResourceType, Type, Val,
        types::{ComponentFunc, ComponentItem},
    },
};

use crate::state::State;

/// The type of all denied resources. None is ever made.
enum Nothing {}

/// A guest used what cannot even be denied.
#[derive(Debug, thiserror::Error)]
#[error("access to `{0}` is denied")]
pub(crate) struct Denied(String);

/// Links every WASI interface that `component` imports and `answered` does not say that it
/// is answered elsewhere.
pub(crate) fn add_to_linker(
    linker: &mut Linker<State>,
    engine: &Engine,
    component: &Component,
    answered: impl Fn(&str) -> bool,
) -> Result<()> {
    let mut owned: Vec<ResourceType> = Vec::new();
    let component = component.component_type();
    for (name, item) in component.imports(engine) {
        let ComponentItem::ComponentInstance(interface) = item.ty else {
            continue;
        };
        let denied = name.starts_with("wasi:") && !answered(name);
        let mut instance = if denied { Some(linker.instance(name)?) } else { None };
        for (export, item) in interface.exports(engine) {
            match (item.ty, &mut instance) {
                // Only the interface that owns a resource defines it; it comes first.
                (ComponentItem::Resource(resource), _) if owned.contains(&resource) => {}
                (ComponentItem::Resource(resource), instance) => {
                    owned.push(resource);
                    if let Some(instance) = instance {
                        instance.resource(export, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
                    }
                }
                (ComponentItem::ComponentFunc(_), Some(instance)) => {
                    let full = format!("{name}#{export}");
                    instance.func_new(export, move |_, ty, _, results| deny(&full, &ty, results))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn deny(name: &str, ty: &ComponentFunc, results: &mut [Val]) -> Result<()> {
    for (slot, ty) in results.iter_mut().zip(ty.results()) {
        *slot = no(&ty).ok_or_else(|| Denied(name.to_owned()))?;
    }
    Ok(())
}

/// The value of a type that says no.
fn no(ty: &Type) -> Option<Val> {
    match ty {
        Type::List(_) => Some(Val::List(Vec::new())),
        Type::Option(_) => Some(Val::Option(None)),
        Type::Result(result) => match result.err() {
            None => Some(Val::Result(Err(None))),
            Some(Type::Enum(codes)) => ["access", "access-denied", "not-permitted"]
                .iter()
                .find(|code| codes.names().any(|name| name == **code))
                .map(|code| Val::Result(Err(Some(Box::new(Val::Enum((*code).to_owned())))))),
            Some(_) => None,
        },
        _ => None,
    }
}
