//! Namespaces and services.

use crate::model::{
    Base, FreezeScope, Namespace, NamespaceRow, NamespaceSettings, Revision, ServiceKey, ServiceSettings,
};
use crate::watch::Recorded;

use super::super::NamespaceState;
use super::super::service::Service;
use super::super::verdict::Refusal;
use super::{Applying, LeaseEvent, Result};

impl Applying<'_> {
    pub(super) fn put_namespace(&mut self, name: &Namespace, settings: &NamespaceSettings, base: Base) -> Result {
        let revision = self.revision;
        let fresh = self.is_fresh(base);
        let row = match (self.state.namespaces.get_mut(name), base) {
            (Some(there), Base::At(base)) if there.row.revision == base => {
                there.row = NamespaceRow { settings: settings.clone(), revision, ..there.row.clone() };
                there.row.clone()
            }
            (None, Base::Absent(_)) if fresh => {
                let row = NamespaceRow { settings: settings.clone(), created_at_ms: self.time_ms, revision };
                let namespace = NamespaceState { row: row.clone(), services: 0 };
                self.state.namespaces.insert(name.clone(), namespace);
                row
            }
            _ => return Err(Refusal::Base),
        };
        self.tell_namespace(name, Some(row));
        Ok(())
    }

    pub(super) fn delete_namespace(&mut self, name: &Namespace, base: Revision) -> Result {
        let there = self.state.namespaces.get(name).ok_or(Refusal::Absent)?;
        if there.row.revision != base {
            return Err(Refusal::Base);
        }
        if there.services > 0 || *name == Namespace::default_namespace() {
            return Err(Refusal::NotEmpty);
        }
        self.state.namespaces.remove(name);
        self.tell_namespace(name, None);
        Ok(())
    }

    fn tell_namespace(&mut self, name: &Namespace, row: Option<NamespaceRow>) {
        self.state.dirty.namespaces.insert(name.clone());
        self.out.namespaces.push((name.clone(), row));
    }

    pub(super) fn put_service(&mut self, key: &ServiceKey, settings: &ServiceSettings, base: Base) -> Result {
        let fresh = self.is_fresh(base);
        match (self.state.services.get_mut(key), base) {
            (Some(service), Base::At(base)) if service.row().settings_revision == base => {
                service.describe(settings.clone(), self.revision);
                self.state.time_service(key);
            }
            (None, Base::Absent(_)) if fresh => {
                self.make_service(key, settings.clone(), false)?;
            }
            _ => return Err(Refusal::Base),
        }
        self.record(key, Recorded::Service);
        Ok(())
    }

    /// Makes a service that is not there; its namespace must be.
    pub(super) fn make_service(&mut self, key: &ServiceKey, settings: ServiceSettings, implicit: bool) -> Result {
        let namespace = self.state.namespaces.get_mut(&key.namespace).ok_or(Refusal::Absent)?;
        namespace.services += 1;
        let service = Service::new(settings, implicit, self.revision, self.time_ms);
        self.state.services.insert(key.clone(), service);
        self.state.dirty.services.insert(key.clone());
        Ok(())
    }

    pub(super) fn delete_service(&mut self, key: &ServiceKey, base: Revision) -> Result {
        let service = self.state.services.get(key).ok_or(Refusal::Absent)?;
        if service.row().settings_revision != base {
            return Err(Refusal::Base);
        }
        self.drop_service(key)
    }

    pub(super) fn collect_service(&mut self, key: &ServiceKey, base: Revision) -> Result {
        let service = self.state.services.get(key).ok_or(Refusal::Absent)?;
        if service.row().revision != base || !service.row().implicit {
            return Err(Refusal::Base);
        }
        self.drop_service(key)
    }

    fn drop_service(&mut self, key: &ServiceKey) -> Result {
        if self.state.services.get(key).is_some_and(|service| !service.is_empty()) {
            return Err(Refusal::NotEmpty);
        }
        self.state.services.remove(key);
        self.state.time_service(key);
        // A freeze of what is gone holds nothing back; a service of the same name starts without it.
        let scope = FreezeScope::Service(key.clone());
        if self.state.freezes.remove(&scope).is_some() {
            self.state.dirty.freezes.insert(scope.clone());
            self.tell(LeaseEvent::Released { scope });
        }
        if let Some(namespace) = self.state.namespaces.get_mut(&key.namespace) {
            namespace.services -= 1;
        }
        // What was kept for instances of a service that is gone has nobody to speak of.
        let kept: Vec<_> = self.state.kept_of(key).map(|(key, _)| key.clone()).collect();
        for key in kept {
            self.state.overrides.remove(&key);
            self.kept_changed(&key);
        }
        self.record(key, Recorded::Service);
        Ok(())
    }
}
