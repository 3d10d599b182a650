use std::sync::Arc;

use compute::command::Reached;
use proptest::prelude::*;
use prost::Message;
use schemas::thuban::v1 as pb;

use super::*;
use crate::error::Code;
use crate::grpc::convert::tests::an_instance;
use crate::grpc::wire::HEADER_BYTES;

fn outcome() -> impl Strategy<Value = Result<Outcome, Problem>> {
    let reached = prop_oneof![Just(Reached::Overlay), Just(Reached::Memory), Just(Reached::Log), Just(Reached::Store),];
    let made =
        (an_instance(), any::<bool>(), any::<bool>(), reached).prop_map(|((key, made), is_shown, created, reached)| {
            // What only the overlay knows has no revision.
            let revision = if is_shown { made.revision } else { Revision::ZERO };
            let instance = Arc::new(Instance { revision, generation: revision.min(made.generation), ..made });
            Ok(Outcome { answer: Answer::Instance { key, instance, created }, reached, revision })
        });
    let gone = || Outcome { answer: Answer::Removed, reached: Reached::Log, revision: Revision::ZERO };
    let refused = "[ -~]{0,200}".prop_map(|detail| Err(Problem::new(Code::Conflict, detail)));
    prop_oneof![6 => made, 1 => Just(()).prop_map(move |()| Ok(gone())), 2 => refused]
}

proptest! {
    #[test]
    fn it_is_what_the_messages_would_write(
        request_id in any::<u64>(),
        outcomes in proptest::collection::vec(outcome(), 0..6),
        is_first_refused in any::<bool>(),
    ) {
        let batch = || {
            let refused = is_first_refused.then(|| (0, Problem::missing("port", "0 to 65535")));
            Batch::with_refused(outcomes.len() + usize::from(is_first_refused), refused.into_iter().collect())
        };
        let registered = batch().registered(true, &mut outcomes.clone().into_iter());
        let reply = Some(pb::session_reply::Reply::Registered(registered));
        let expected = pb::SessionReply { request_id, reply }.encode_to_vec();
        let (mut outgoing, mut scratch) = (Outgoing::default(), Out::default());
        for _ in 0..2 {
            put(&mut outgoing, &mut scratch, request_id, batch(), &mut outcomes.clone().into_iter());
            let frame: Vec<u8> = outgoing.take().flatten().collect();
            prop_assert_eq!(&frame[..HEADER_BYTES], [&[0][..], &(expected.len() as u32).to_be_bytes()].concat());
            prop_assert_eq!(&frame[HEADER_BYTES..], &expected);
        }
    }
}
