//! The kinds by name.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use super::erased::Erased;
use super::kind::{
    Command, ConfigFile, CpuGovernor, DbPool, DbSettings, IntegrationTests, Process, Readiness,
    ServiceStartup, Tune,
};
use super::{AnyKind, Kind};

/// The kinds that a pipeline may use.
#[derive(Clone, Default)]
pub struct Registry(BTreeMap<&'static str, Arc<dyn AnyKind>>);

impl Registry {
    /// Adds a kind.
    #[must_use]
    pub fn with<K: Kind>(mut self) -> Self {
        self.0.insert(K::NAME, Arc::new(Erased::<K>(PhantomData)));
        self
    }

    /// The kind of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn AnyKind>> {
        self.0.get(name)
    }

    /// All kinds in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn AnyKind>> {
        self.0.values()
    }
}

/// The kinds that ship with trueup.
#[must_use]
pub fn standard() -> Registry {
    Registry::default()
        .with::<Readiness>()
        .with::<CpuGovernor>()
        .with::<DbPool>()
        .with::<ServiceStartup>()
        .with::<Tune>()
        .with::<IntegrationTests>()
        .with::<Command>()
        .with::<ConfigFile>()
        .with::<DbSettings>()
        .with::<Process>()
}
