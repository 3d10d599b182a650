//! The requests of a session, one by one.

use bytes::Bytes;
use compute::command::Caller;
use compute::model::Invalid;
use schemas::thuban::v1 as pb;
use schemas::thuban::v1::session_reply::Reply;
use schemas::thuban::v1::session_request::Request;

use super::direct::Register;
use super::{Cost, End, Kind, Live, Pending, Watched};
use crate::error::Problem;
use crate::grpc::batch::Batch;
use crate::grpc::{convert, status, watch, wire};

pub(super) fn refusal(request_id: u64, problem: &Problem) -> pb::SessionReply {
    pb::SessionReply { request_id, reply: Some(Reply::Problem(status::message(problem))) }
}

impl Live {
    /// Takes one message.
    pub(super) fn hear(&mut self, message: Bytes) {
        let bytes = message.len();
        if let Some(register) = Register::read(&message) {
            let request_id = register.request_id;
            let begun = self.check_is_new(request_id).and_then(|()| self.register(register, bytes));
            return self.answer_now(request_id, begun.map(|()| None));
        }
        match wire::decode::<pb::SessionRequest>(message) {
            Ok(request) => self.ask(request, bytes),
            Err(unreadable) => self.ending = Some(End::Refused(unreadable.into())),
        }
    }

    /// Takes one request: answers it at once, or leaves it pending.
    fn ask(&mut self, request: pb::SessionRequest, bytes: usize) {
        let request_id = request.request_id;
        let answered = match request.request {
            Some(Request::Pong(_)) => return,
            Some(Request::Acknowledge(acknowledge)) if request_id == 0 => {
                // Nobody waits for an answer: what can't be used is dropped.
                let _ = self.acknowledge(&acknowledge);
                return;
            }
            // There is no name under which it could be told what is wrong.
            _ if request_id == 0 => {
                self.ending = Some(End::Refused(Problem::invalid("request_id", 0, "above 0")));
                return;
            }
            None => Err(Problem::missing("request", "one of the kinds that SessionRequest names")),
            Some(request) => self.check_is_new(request_id).and_then(|()| self.begin(request_id, request, bytes)),
        };
        self.answer_now(request_id, answered);
    }

    fn check_is_new(&self, request_id: u64) -> Result<(), Problem> {
        if self.unanswered.ids.contains(&request_id) {
            let allowed = "different from that of every unanswered request";
            return Err(Problem::invalid("request_id", request_id, allowed));
        }
        Ok(())
    }

    /// Puts the answer out; there is none yet of what is pending.
    fn answer_now(&mut self, request_id: u64, answered: Result<Option<Reply>, Problem>) {
        match answered {
            Ok(Some(reply)) => self.out.put(&pb::SessionReply { request_id, reply: Some(reply) }),
            Ok(None) => {}
            Err(problem) => self.out.put(&refusal(request_id, &problem)),
        }
    }

    /// The answer, or `None` when it comes later.
    fn begin(&mut self, request_id: u64, request: Request, bytes: usize) -> Result<Option<Reply>, Problem> {
        match request {
            Request::Register(asked) => self.register(Register::of(request_id, &asked), bytes).map(|()| None),
            Request::Deregister(deregister) => self.deregister(request_id, &deregister, bytes).map(|()| None),
            Request::Renew(renew) => self.renew(request_id, &renew, bytes).map(|()| None),
            Request::Watch(asked) => self.watch(asked).map(Some),
            Request::Unwatch(pb::Unwatch { watch_id }) => {
                if !self.session.unwatch(watch_id) {
                    return Err(unknown_watch(watch_id));
                }
                self.watched.remove(&watch_id);
                Ok(Some(Reply::Unwatched(pb::Unwatched { watch_id })))
            }
            Request::Acknowledge(acknowledge) => {
                self.acknowledge(&acknowledge)?;
                Ok(Some(Reply::Acknowledged(pb::Acknowledged {})))
            }
            Request::Ping(pb::Ping { nonce }) => Ok(Some(Reply::Pong(pb::Pong { nonce }))),
            Request::Goodbye(pb::Goodbye { deregister }) => {
                self.ending = Some(End::Goodbye { request_id, deregister });
                Ok(None)
            }
            Request::Open(_) => Err(Problem::invalid("request", "open", "open only as the first message")),
            Request::Pong(_) => Ok(None),
        }
    }

    fn register(&mut self, asked: Register<'_>, bytes: usize) -> Result<(), Problem> {
        let Register { request_id, ack, brief, items } = asked;
        let ack = convert::ack(ack)?;
        let cost = Cost { requests: 1, items: items.len(), bytes };
        let (batch, commands) = Batch::register(items.into_iter(), &self.call.identity, Some(self.stream))?;
        self.unanswered.add(request_id, cost);
        self.session.write(Pending { request_id, batch, kind: Kind::Register { brief }, cost }, ack, commands);
        Ok(())
    }

    fn deregister(&mut self, request_id: u64, asked: &pb::DeregisterRequest, bytes: usize) -> Result<(), Problem> {
        let ack = convert::ack(asked.ack)?;
        let cost = Cost { requests: 1, items: asked.items.len(), bytes };
        let caller: &Caller = self.session.caller();
        let (batch, commands) = Batch::deregister(&asked.items, &self.call.identity, caller)?;
        self.unanswered.add(request_id, cost);
        self.session.write(Pending { request_id, batch, kind: Kind::Deregister, cost }, ack, commands);
        Ok(())
    }

    fn renew(&mut self, request_id: u64, asked: &pb::RenewRequest, bytes: usize) -> Result<(), Problem> {
        let cost = Cost { requests: 1, items: asked.items.len(), bytes };
        let (batch, items) = Batch::renew(&asked.items, &self.call.identity)?;
        self.unanswered.add(request_id, cost);
        self.session.renew(Pending { request_id, batch, kind: Kind::Renew, cost }, items);
        Ok(())
    }

    fn watch(&mut self, asked: pb::SessionWatch) -> Result<Reply, Problem> {
        let Some(what) = asked.watch else { return Err(Problem::missing("watch", "what to watch")) };
        let subscriber = self.session.subscriber().clone();
        let within = |problem| status::within(problem, format_args!("watch"));
        let (namespace, spec) = watch::spec(what, &self.call.identity, subscriber).map_err(within)?;
        watch::check_scope(&self.shared, &spec)?;
        let names = watch::take_names(&self.shared, &self.call, &spec.scope).map_err(within)?;
        self.session.watch(asked.watch_id, spec)?;
        self.watched.insert(asked.watch_id, Watched { namespace, _names: names });
        Ok(Reply::Watching(pb::Watching { watch_id: asked.watch_id }))
    }

    fn acknowledge(&mut self, asked: &pb::Acknowledge) -> Result<(), Problem> {
        let service = match asked.service.as_str() {
            "" => None,
            name => Some(convert::service(&asked.namespace, name)?),
        };
        let revision = convert::revision("revision", Some(&asked.revision))?;
        let is_known = self.session.acknowledge(asked.watch_id, service.as_ref(), revision.unwrap_or_default());
        if is_known { Ok(()) } else { Err(unknown_watch(asked.watch_id)) }
    }
}

fn unknown_watch(watch_id: u64) -> Problem {
    Invalid::new("watch_id", watch_id, "a watch of this session").into()
}
