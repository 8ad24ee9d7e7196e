//! Choices that are a word, or a word with settings, and settings that may all be left out.

/// An enum that is written as a word - its settings are then their defaults - or as a mapping of the word to its settings: `hyperband` or
/// `{ hyperband: { factor: 4 } }`.
macro_rules! brief {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident $(($settings:ty))? = $word:literal,)* }) => {
        $(#[$meta])*
        pub enum $name {
            $($(#[$doc])* $variant $(($settings))?,)*
        }

        const _: () = {
            #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
            #[schemars(inline)]
            enum Word {
                $($(#[$doc])* #[serde(rename = $word)] $variant,)*
            }

            #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
            #[serde(untagged, deny_unknown_fields)]
            #[schemars(inline)]
            enum Written {
                /// With its default settings.
                Word(Word),
                $($($variant { #[serde(rename = $word)] settings: $settings },)?)*
            }

            impl serde::Serialize for $name {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let written = match self {
                        $($crate::brief::brief!(@pattern $variant, settings $(, $settings)?) =>
                            $crate::brief::brief!(@written $variant, settings $(, $settings)?),)*
                    };
                    written.serialize(serializer)
                }
            }

            impl<'de> serde::Deserialize<'de> for $name {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    Ok(match Written::deserialize(deserializer)? {
                        $(Written::Word(Word::$variant) => $crate::brief::brief!(@default $variant $(, $settings)?),)*
                        $($(Written::$variant { settings } => $crate::brief::brief!(@keep $settings, Self::$variant(settings)),)?)*
                    })
                }
            }

            impl schemars::JsonSchema for $name {
                fn schema_name() -> std::borrow::Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                    Written::json_schema(generator)
                }
            }
        };
    };
    (@pattern $variant:ident, $name:ident) => { Self::$variant };
    (@pattern $variant:ident, $name:ident, $settings:ty) => { Self::$variant($name) };
    (@written $variant:ident, $name:ident) => { Written::Word(Word::$variant) };
    (@written $variant:ident, $name:ident, $settings:ty) => { Written::$variant { settings: $name.clone() } };
    (@keep $settings:ty, $value:expr) => { $value };
    (@default $variant:ident) => { Self::$variant };
    (@default $variant:ident, $settings:ty) => { Self::$variant(<$settings>::default()) };
}

/// Gives types whose every key has a default the value of an empty mapping.
macro_rules! default_from_empty {
    ($($type:ty),*) => {$(
        impl Default for $type {
            /// Every key left out.
            fn default() -> Self {
                // Written once, in the `default` attributes above; an empty mapping is valid for each of these types.
                serde_json::from_str("{}").unwrap_or_else(|_| unreachable!("every key has a default"))
            }
        }
    )*};
}

pub(crate) use {brief, default_from_empty};
