use compute::model::FreezeScope;
use compute::node::{Freezing, Leases, NodeStatus};
use compute::registry::NodeSeen;
use schemas::thuban::v1 as pb;

use super::{Admin, Answer, cursor, limit};
use crate::admission::Verb;
use crate::grpc::call::Answered;
use crate::grpc::convert;
use crate::http::DoorReport;
use crate::listing::{self, Spread};

impl Admin<'_> {
    pub(super) async fn list_nodes(self, asked: pb::ListNodesRequest) -> Answer {
        self.call.identity.may_at_all(Verb::Read)?;
        let limit = limit(asked.limit)?;
        let after = cursor(&asked.cursor)?;
        let admin = self.caught_up(asked.min_revision.as_deref()).await?.with_time_for_others()?;
        let revision = admin.revision();
        let Spread { items, next, unanswered } = listing::nodes(admin.registry(), after, limit).await;
        let reply = pb::ListNodesReply {
            items: items.iter().map(node).collect(),
            next_cursor: next.unwrap_or_default(),
            unanswered: unanswered.iter().map(|name| name.as_ref().to_owned()).collect(),
        };
        Ok(Answered::of(&reply).at(revision, 0))
    }

    pub(super) async fn get_status(self, asked: pb::GetStatusRequest) -> Answer {
        self.call.identity.may_at_all(Verb::Read)?;
        let admin = self.caught_up(asked.min_revision.as_deref()).await?;
        let status = admin.registry().status();
        let overlay = u32::try_from(status.counted.overlay).unwrap_or(u32::MAX);
        Ok(Answered::of(&admin.told(&status)).at(status.applied.last(), overlay))
    }

    pub(super) async fn drain_node(self, asked: pb::DrainNodeRequest) -> Answer {
        self.call.identity.may_everywhere(Verb::Operate)?;
        let admin = self.with_time_for_others()?;
        let node = admin.meant(asked.node);
        tracing::info!(author = admin.call.identity.name(), node, "asked to drain a node");
        admin.registry().drain_node(&node).await?;
        Ok(Answered::of(&pb::DrainNodeReply { state: "draining".to_owned() }))
    }

    pub(super) async fn release_freeze(&self, asked: pb::ReleaseFreezeRequest) -> Answer {
        self.call.identity.may_everywhere(Verb::Operate)?;
        let node = self.meant(asked.node);
        let released = self.registry().release_freezes(&self.call.caller(self.shared), &node).await?;
        let released = u32::try_from(released).unwrap_or(u32::MAX);
        Ok(Answered::of(&pb::ReleaseFreezeReply { released }))
    }

    /// No name at all is this node's.
    fn meant(&self, node: String) -> String {
        if node.is_empty() { self.shared.node_name() } else { node }
    }

    fn told(&self, status: &NodeStatus) -> pb::Status {
        let (state, why) = listing::state(&status.readiness);
        let counted = &status.counted;
        pb::Status {
            node: status.name.as_ref().to_owned(),
            incarnation: status.node.to_string(),
            version: self.shared.surroundings.as_ref().map_or("", |around| around.version).to_owned(),
            state: state.to_owned(),
            reasons: why.map(str::to_owned).into_iter().chain(status.isolated.clone()).collect(),
            doors: self.doors().into_iter().map(door).collect(),
            log: Some(pb::LogStatus {
                identity: status.log.to_string(),
                generation: u32::from(status.applied.generation()),
                applied_revision: status.applied.last().to_string(),
                time: Some(convert::time(status.time_ms)),
                away_ms: status.log_away_ms,
                lag_frames: status.lag.frames,
                lag_ms: status.lag.ms,
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
            leases: Some(leases(&counted.leases)),
            freezes: status.freezes.iter().map(freeze).collect(),
            holding: status.holding.clone().unwrap_or_default(),
            ..pb::Status::default()
        }
    }

    fn doors(&self) -> Vec<DoorReport> {
        self.shared.surroundings.as_ref().map_or_else(Vec::new, |around| (around.doors)())
    }
}

fn node(seen: &NodeSeen) -> pb::Node {
    let (state, detail) = listing::state_of(seen);
    let report = seen.report.clone().unwrap_or_default();
    pb::Node {
        name: seen.name.as_ref().to_owned(),
        incarnation: seen.node.to_string(),
        state: state.to_owned(),
        detail: detail.unwrap_or_default(),
        addresses: report.addresses.iter().map(|(door, at)| (door.to_string(), at.to_string())).collect(),
        applied_revision: seen.applied.last().to_string(),
        lag_frames: seen.lag_frames,
        lag_ms: report.lag.ms,
        lander: seen.is_lander,
        leases: seen.report.is_ok().then(|| leases(&report.leases)),
        freezes: seen.freezes.iter().map(freeze).collect(),
        holding: report.holding.unwrap_or_default(),
        answering: seen.is_me,
        answered: seen.report.is_ok(),
        version: report.version.to_string(),
        isolated: report.isolated.unwrap_or_default(),
        log_away_ms: report.log_away_ms,
        store_error: report.store_error.unwrap_or_default(),
        landed_revision: seen.landed.last().to_string(),
        landing_lag_frames: seen.landing_lag_frames(),
        unlanded: report.unlanded,
        overlay: report.overlay,
        sessions: seen.sessions as u64,
        joined_at: seen.joined_ms.map(convert::time),
    }
}

fn leases(of: &Leases) -> pb::LeaseCounts {
    pb::LeaseCounts {
        ttl: of.ttl as u64,
        stream: of.stream as u64,
        checked: of.checked as u64,
        permanent: of.permanent as u64,
        suspects: of.suspects as u64,
    }
}

fn freeze(freezing: &Freezing) -> pb::Freeze {
    let (node, namespace, service) = match &freezing.scope {
        FreezeScope::Node(node) => (node.to_string(), String::new(), String::new()),
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
