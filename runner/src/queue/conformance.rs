//! One suite for all queues: what the contract says, each case written once, tried on every backend.
//!
//! A backend takes part by implementing [`Backend`] and by one line at the end of this file. What it cannot do it
//! names there, as [`Need`]s with reasons; the cases that need that show as ignored, each under its name and with
//! the reason. A backend whose server is missing from a machine is passed over with a word on standard error, unless
//! the environment variable `CI` is set.
//!
//! Time is under the test's control only with some backends. The cases use few and short times, of whole seconds,
//! so that the others can sleep through them.

mod acting;
mod endings;
mod forgetting;
mod identity;
mod keys;
mod leases;
mod listing;
pub(in crate::queue) mod model;
mod order;
mod pausing;
mod subject;
mod times;
mod updating;
mod waking;

pub(in crate::queue) use self::subject::{LEASE, document, failed, worker};

use self::subject::Subject;
use super::{Queue, WorkerId};
use std::time::Duration;

/// A kind of queue, and what only a test may do to one.
pub(in crate::queue) trait Backend: Sized + Send + Sync {
    /// What it is called where a test is skipped.
    const NAME: &'static str;

    /// How far the times that it tells may be off: nothing, if [`advance`](Self::advance) sets its clock.
    const PRECISION: Duration;

    /// A queue with nothing in it, and nobody else at it.
    async fn open() -> Result<Self, Missing>;

    /// The queue.
    fn queue(&self) -> &dyn Queue;

    /// The same queue, as another process has it.
    async fn elsewhere(&self) -> Box<dyn Queue>;

    /// Lets that much time pass, and a little more if it passes by itself.
    async fn advance(&self, by: Duration);

    /// Has the worker fall silent until its leases have run out and the queue has found that out. It is one of
    /// [`worker`]'s; the others go on.
    async fn lose(&self, lost: &WorkerId);
}

/// What a machine lacks for a backend to be tried.
#[derive(Debug)]
pub(in crate::queue) struct Missing(pub(in crate::queue) String);

/// What a case asks of a backend that not every one can do.
///
/// Those that all can: jobs in tubes with priorities, in their order, delays, retries, attempts that are fenced and
/// counted, burying and kicking, taking over what a lost worker held, and finding a job by its id.
pub(in crate::queue) enum Need {
    /// A claim of several jobs takes them in their order over several tubes.
    Batches,
    /// Jobs that were not claimed can be cancelled.
    Cancel,
    /// Jobs can be cancelled while another process runs them.
    CancelRunning,
    /// The past of a job can be told: its times, attempts and last verdict.
    History,
    /// Jobs can be deleted, and their ids stay known.
    Delete,
    /// A job that was not started in time is cancelled.
    Expiry,
    /// Jobs can be held and released.
    Hold,
    /// An id that was submitted before is recognised, and a batch is kept as a whole or not at all.
    Identity,
    /// Jobs can be listed, by state, tube and algorithm.
    List,
    /// Tubes can be paused, for a time or until they are resumed, in a way that all processes see.
    Pause,
    /// A job can be pinned to a worker.
    Pins,
    /// Attempts can tell how far they have come.
    Progress,
    /// Jobs that ended are kept for a time of the operator's choice.
    Retention,
    /// Counts of jobs by state.
    Status,
    /// Jobs can be listed by their tags.
    Tags,
    /// Unique keys.
    Unique,
    /// The documents of waiting jobs can be changed.
    Update,
    /// A change that another process makes is noticed at once.
    Wake,
}

/// Hands the list of all cases to another macro: by module, each with what it needs.
macro_rules! each_case {
    ($make:ident) => {
        $make! {
            order {
                the_most_urgent_job_comes_first_and_among_equals_the_first_submitted;
                a_retried_job_keeps_its_place_and_its_attempts_go_on;
                only_jobs_of_the_workers_tubes_are_claimed;
                the_most_urgent_of_several_tubes_comes_first;
                a_claim_takes_as_many_as_it_may_in_their_order: Batches;
                a_pinned_job_is_for_exactly_the_worker_that_it_names: Pins;
            }
            times {
                a_delayed_job_waits_for_its_time;
                a_job_whose_time_has_come_is_in_its_place_at_once;
                a_job_begins_held_delayed_or_ready: Hold;
                a_job_that_expires_before_it_is_started_is_cancelled: Expiry History;
                a_job_that_was_started_in_time_does_not_expire: Expiry;
                a_job_that_has_expired_is_cancelled_for_whoever_acts_on_it: Expiry Cancel Hold Status Update;
                a_job_that_has_expired_is_listed_as_cancelled: Expiry Hold List;
            }
            leases {
                a_stale_lease_settles_nothing;
                a_lost_workers_job_is_for_another_and_the_late_one_comes_to_nothing;
                a_lost_worker_takes_no_other_with_it;
                a_job_that_loses_every_worker_is_buried_in_the_end;
                an_interrupted_attempt_does_not_count;
                a_job_that_is_given_back_keeps_its_place_and_its_attempts;
                a_worker_that_says_goodbye_gives_back_what_it_holds;
                a_heartbeat_tells_which_leases_are_lost;
                what_a_stale_lease_says_of_its_progress_is_nothing: Progress;
            }
            endings {
                a_done_job_is_over;
                a_buried_job_waits_for_a_kick;
                a_done_job_tells_all_of_its_life: History;
                a_cancelled_attempt_leaves_no_result: Cancel;
                progress_is_told_while_the_attempt_runs: Progress;
            }
            identity {
                a_job_is_found_as_it_was_submitted;
                submitting_the_same_again_changes_nothing: Identity;
                a_batch_with_one_job_that_cannot_be_is_refused_as_a_whole: Identity;
                an_id_stays_bound_to_what_was_first_submitted: Identity Update Delete;
            }
            keys {
                a_unique_key_is_held_until_its_job_has_ended: Unique;
                a_unique_key_for_a_time_is_held_that_long_even_if_the_job_has_ended: Unique;
                a_job_that_has_expired_holds_no_key: Unique Expiry;
                a_job_that_is_cancelled_holds_no_key: Unique Cancel;
                a_kicked_job_takes_its_key_again_if_nobody_holds_it: Unique;
            }
            acting {
                a_kicked_job_is_granted_as_many_attempts_again;
                a_kicked_job_tells_of_the_past: History;
                a_delayed_job_is_kicked_without_a_grant;
                nothing_can_be_done_to_a_job_that_nobody_knows: Cancel Delete;
                a_waiting_job_is_cancelled_at_once: Cancel;
                a_cancelled_attempt_is_over_for_its_holder: CancelRunning History;
                a_held_job_is_not_claimed_until_it_is_released_and_keeps_its_place: Hold;
                each_job_of_a_call_gets_its_own_answer: Delete;
                what_can_be_done_follows_from_the_state: Cancel CancelRunning Delete Hold List Status Update;
            }
            updating {
                a_changed_job_is_claimed_as_what_it_is_now: Update Pins Batches;
                a_changed_job_is_found_as_what_it_is_now: Update List Tags Status;
                a_change_keeps_the_jobs_place: Update;
                times_in_a_change_count_from_then_and_one_replaces_the_other: Update Hold;
                only_a_job_that_has_not_started_can_be_made_to_expire: Update Expiry;
                a_change_that_makes_no_job_is_refused_in_the_documents_own_words: Update;
            }
            pausing {
                nothing_of_a_paused_tube_is_claimed_until_it_is_resumed: Pause;
                a_tube_that_is_paused_without_an_end_is_no_work: Pause Status;
                a_pause_ends_at_its_time_and_other_processes_keep_it: Pause Status;
                a_pause_until_a_time_that_is_past_is_none_and_ends_the_one_before: Pause Status;
            }
            forgetting {
                deleted_ids_are_told_page_by_page_and_a_reader_can_go_on_later: Delete;
                each_kind_of_ending_is_kept_for_its_own_time_and_what_waits_for_ever: Retention Cancel Hold List;
                no_more_are_forgotten_at_once_than_was_asked_and_the_oldest_first: Retention List;
                a_job_is_not_forgotten_while_it_holds_a_unique_key: Retention Unique;
            }
            listing {
                every_job_is_listed_once_in_order_of_submission: List;
                a_listing_can_be_narrowed: List;
                a_listing_can_be_narrowed_by_everything_at_once: List Tags;
                the_status_counts_every_state: List Status Cancel;
            }
            waking {
                a_change_before_the_wait_is_not_missed;
                everyone_who_waits_hears_of_every_change: Wake;
                a_change_through_another_handle_wakes_the_waiting: Wake;
                a_wait_ends_when_a_delayed_job_becomes_due;
                a_wait_ends_when_a_pause_does: Pause;
            }
        }
    };
}

/// Makes a test of each case for a backend, those left out that need what it lacks: `Need: "backend: why not"`.
macro_rules! exercise {
    ($backend:ty $(, $lacks:ident: $reason:literal)* $(,)?) => {
        exercise! { @with ($) $backend $(, $lacks: $reason)* }
    };
    // A macro that makes macros has to be handed their dollars.
    (@with ($d:tt) $backend:ty $(, $lacks:ident: $reason:literal)*) => {
        use super::*;

        const _: &[Need] = &[$(Need::$lacks),*];

        macro_rules! unless_lacking {
            $(([$lacks $d($more:ident)*] $d($test:tt)*) => { #[ignore = $reason] $d($test)* };)*
            ([$d need:ident $d($d more:ident)*] $d($d test:tt)*) => {
                unless_lacking! { [$d($d more)*] $d($d test)* }
            };
            ([] $d($d test:tt)*) => { $d($d test)* };
        }
        macro_rules! tests {
            ($d($d module:ident { $d($d case:ident $d(: $d($d need:ident)+)?;)* })*) => {
                $d($d(
                    const _: &[Need] = &[$d($d(Need::$d need),+)?];
                    unless_lacking! { [$d($d($d need)+)?]
                        #[tokio::test]
                        async fn $d case() {
                            if let Some(subject) = Subject::<$backend>::open().await {
                                super::$d module::$d case(&subject).await;
                            }
                        }
                    }
                )*)*
            };
        }
        each_case! { tests }
    };
}

mod sqlite {
    exercise! { crate::queue::sqlite::conformance::Sqlite }
}

mod beanstalkd {
    exercise! {
        crate::queue::beanstalkd::conformance::Beanstalkd,
        Hold: "beanstalkd: a server has no command that keeps a ready job from being reserved, and keeps it known",
        Pins: "beanstalkd: whoever watches a tube may reserve any job of it",
        Retention: "beanstalkd: dead jobs are buried, and a server keeps them until somebody deletes them",
        Tags: "beanstalkd: a server finds jobs by their numbers only, and no file knows the tags of all of them",
        Unique: "beanstalkd: a server takes every job that it is given, and nobody knows all that it has",
        Update: "beanstalkd: a server has no command that changes a job",
    }
}
