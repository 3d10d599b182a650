use compute::Error;
use compute::error::What;
use compute::model::FreezeScope;
use compute::node::{Counted, Freezing, NodeStatus, Readiness};
use schemas::thuban::v1 as pb;

use super::{Admin, Answer, cursor, limit};
use crate::admission::Verb;
use crate::error::Problem;
use crate::grpc::call::Answered;
use crate::grpc::convert;
use crate::http::DoorReport;

impl Admin<'_> {
    pub(super) async fn list_nodes(self, asked: pb::ListNodesRequest) -> Answer {
        self.call.identity.may_at_all(Verb::Read)?;
        limit(asked.limit)?;
        let after = cursor(&asked.cursor)?.map(str::to_owned);
        let admin = self.caught_up(asked.min_revision.as_deref()).await?;
        let status = admin.registry().status();
        // A node is the only one as long as its log is its own; the cursor is the name of the last one shown.
        let is_behind = after.is_none_or(|after| *after < *status.name);
        let items = Some(admin.node(&status)).filter(|_| is_behind).into_iter().collect();
        let reply = pb::ListNodesReply { items, next_cursor: String::new() };
        Ok(Answered::of(&reply).at(status.applied.last(), 0))
    }

    pub(super) async fn get_status(self, asked: pb::GetStatusRequest) -> Answer {
        self.call.identity.may_at_all(Verb::Read)?;
        let admin = self.caught_up(asked.min_revision.as_deref()).await?;
        let status = admin.registry().status();
        let overlay = u32::try_from(status.counted.overlay).unwrap_or(u32::MAX);
        Ok(Answered::of(&admin.told(&status)).at(status.applied.last(), overlay))
    }

    pub(super) fn drain_node(&self, asked: pb::DrainNodeRequest) -> Answer {
        self.here(&asked.node)?;
        tracing::info!(author = self.call.identity.name(), "asked to drain");
        self.registry().drain();
        Ok(Answered::of(&pb::DrainNodeReply { state: "draining".to_owned() }))
    }

    pub(super) async fn release_freeze(&self, asked: pb::ReleaseFreezeRequest) -> Answer {
        self.here(&asked.node)?;
        let released = self.registry().release_freezes(&self.call.caller(self.shared)).await?;
        let released = u32::try_from(released).unwrap_or(u32::MAX);
        Ok(Answered::of(&pb::ReleaseFreezeReply { released }))
    }

    fn node(&self, status: &NodeStatus) -> pb::Node {
        let (state, detail) = state(&status.readiness);
        pb::Node {
            name: status.name.as_ref().to_owned(),
            incarnation: incarnation(status),
            state,
            detail,
            addresses: self
                .doors()
                .into_iter()
                .filter_map(|door| Some((door.name, door.address?.to_string())))
                .collect(),
            applied_revision: status.applied.last().to_string(),
            lag_frames: 0,
            lag_ms: 0,
            lander: true,
            leases: Some(leases(&status.counted)),
            freezes: status.freezes.iter().map(freeze).collect(),
            holding: status.holding.clone().unwrap_or_default(),
            answering: true,
        }
    }

    fn told(&self, status: &NodeStatus) -> pb::Status {
        let (state, why) = state(&status.readiness);
        let counted = &status.counted;
        pb::Status {
            node: status.name.as_ref().to_owned(),
            incarnation: incarnation(status),
            version: self.shared.surroundings.as_ref().map_or("", |around| around.version).to_owned(),
            state,
            reasons: Some(why).filter(|why| !why.is_empty()).into_iter().collect(),
            doors: self.doors().into_iter().map(door).collect(),
            log: Some(pb::LogStatus {
                identity: status.log.to_string(),
                generation: u32::from(status.applied.generation()),
                applied_revision: status.applied.last().to_string(),
                time: Some(convert::time(status.time_ms)),
                away_ms: status.log_away_ms,
                ..pb::LogStatus::default()
            }),
            store: Some(pb::StoreStatus {
                landed_revision: status.landed.last().to_string(),
                unlanded: status.unlanded as u64,
                error: status.store_error.clone().unwrap_or_default(),
                ..pb::StoreStatus::default()
            }),
            overlay: counted.overlay as u64,
            namespaces: counted.namespaces as u64,
            services: counted.services as u64,
            instances: counted.instances as u64,
            sessions: counted.sessions as u64,
            leases: Some(leases(counted)),
            freezes: status.freezes.iter().map(freeze).collect(),
            holding: status.holding.clone().unwrap_or_default(),
            ..pb::Status::default()
        }
    }

    fn doors(&self) -> Vec<DoorReport> {
        self.shared.surroundings.as_ref().map_or_else(Vec::new, |around| (around.doors)())
    }

    /// An operator of everything speaks of this node, by its name, its incarnation or no name at all.
    fn here(&self, node: &str) -> Result<(), Problem> {
        self.call.identity.may_everywhere(Verb::Operate)?;
        let status = self.registry().status();
        let names = ["", &status.name, &incarnation(&status)];
        if names.contains(&node) { Ok(()) } else { Err(Error::not_found(What::Node, node.escape_debug()).into()) }
    }
}

/// The word of a state, and why it is that.
fn state(readiness: &Readiness) -> (String, String) {
    match readiness {
        Readiness::Ready => ("ready".to_owned(), String::new()),
        Readiness::NotReady(why) => ("not_ready".to_owned(), why.clone()),
        Readiness::Draining => ("draining".to_owned(), "it takes no new work".to_owned()),
    }
}

fn incarnation(status: &NodeStatus) -> String {
    format!("{:016x}", status.node.0)
}

fn leases(counted: &Counted) -> pb::LeaseCounts {
    pb::LeaseCounts {
        ttl: counted.leases_ttl as u64,
        stream: counted.leases_stream as u64,
        checked: counted.leases_checked as u64,
        permanent: counted.leases_permanent as u64,
        suspects: counted.suspects as u64,
    }
}

fn freeze(freezing: &Freezing) -> pb::Freeze {
    let (node, namespace, service) = match &freezing.scope {
        FreezeScope::Node(node) => (format!("{:016x}", node.0), String::new(), String::new()),
        FreezeScope::Service(key) => (String::new(), key.namespace.to_string(), key.service.to_string()),
    };
    let since = Some(convert::time(freezing.since_ms));
    pb::Freeze { node, namespace, service, since, lapsed: freezing.lapsed, of: freezing.of }
}

fn door(report: DoorReport) -> pb::Door {
    pb::Door {
        name: report.name,
        state: if report.address.is_some() { "open" } else { "left_out" }.to_owned(),
        address: report.address.map_or_else(String::new, |address| address.to_string()),
        detail: report.problem.unwrap_or_default(),
    }
}
