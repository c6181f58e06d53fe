//! The component's exports and imports, generated from `wit/`.
//!
//! Owns everything generated and everything unsafe; nobody outside of the SDK's own macros
//! names it. One set of bindings per phase, so that a component exports what its plugin
//! implements and nothing else.

mod convert;
pub(crate) mod host;
mod phases;

pub use phases::Exports;

#[allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    reason = "generated code, whose documentation is that of wit/"
)]
mod generated {
    pub mod imports {
        wit_bindgen::generate!({
            path: "wit",
            inline: "
                package berth:sdk;
                world imports {
                    import hyperfleet:adapter/types@0.1.0;
                    import hyperfleet:adapter/log@0.1.0;
                    import hyperfleet:adapter/fleet@0.1.0;
                    import hyperfleet:adapter/cluster@0.1.0;
                    import hyperfleet:adapter/http@0.1.0;
                }
            ",
            world: "berth:sdk/imports",
            generate_all,
            generate_unused_types: true,
            pub_export_macro: true,
        });
    }

    // It uses none of the types that all share.
    pub mod vary {
        wit_bindgen::generate!({
            path: "wit",
            world: "hyperfleet:adapter/vary-plugin",
            pub_export_macro: true,
        });
    }

    macro_rules! phase {
        ($module:ident, $world:literal) => {
            pub mod $module {
                wit_bindgen::generate!({
                    path: "wit",
                    world: $world,
                    pub_export_macro: true,
                    with: {
                        "hyperfleet:adapter/types@0.1.0":
                            crate::__bindings::generated::imports::hyperfleet::adapter::types,
                    },
                });
            }
        };
    }

    phase!(setup, "hyperfleet:adapter/setup-plugin");
    phase!(preconditions, "hyperfleet:adapter/preconditions-plugin");
    phase!(resources, "hyperfleet:adapter/resources-plugin");
    phase!(postconditions, "hyperfleet:adapter/postconditions-plugin");
    phase!(status, "hyperfleet:adapter/status-plugin");
}

use generated::imports::hyperfleet::adapter as wit;
pub use generated::{postconditions, preconditions, resources, setup, status, vary};
