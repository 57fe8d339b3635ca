//! One suite for all engines: what the contract says, each case written once, tried on every backend.
//!
//! A backend takes part by implementing [`Backend`] and by one line at the end of this file. A case that it
//! cannot do it names there with a reason: the case shows as ignored, under its name and with that reason. A
//! backend whose server is missing from a machine is skipped with a message on standard error, unless the
//! environment variable `CI` is set.
//!
//! Some backends cannot set their clock and have to sleep. So the cases use few and short times, of whole
//! seconds.

mod attempts;
mod claims;
pub(in crate::queue) mod model;
mod operating;
mod outcomes;
mod subject;
mod submission;

pub(in crate::queue) use self::subject::{Backend, LEASE, Missing, document, failed, worker};

/// Hands the list of all cases, by module, to another macro.
macro_rules! each_case {
    ($make:ident) => {
        $make! {
            claims {
                most_urgent_job_comes_first_then_the_first_submitted;
                retried_job_keeps_its_place_and_its_attempts_go_on;
                only_jobs_of_the_given_tubes_are_claimed;
                most_urgent_job_of_several_tubes_comes_first;
                a_claim_takes_at_most_the_number_given_in_order;
                pinned_job_goes_only_to_the_worker_that_it_names;
                delayed_job_waits_for_its_time;
                due_job_takes_its_place_in_the_order_at_once;
                new_job_is_held_delayed_or_ready;
                job_that_is_not_started_in_time_is_cancelled;
                job_that_was_started_in_time_does_not_expire;
                expired_job_is_cancelled_whatever_is_done_to_it;
                expired_job_is_listed_as_cancelled;
                paused_tube_gives_no_jobs_until_it_is_resumed;
                tube_that_is_paused_without_an_end_is_no_work;
                pause_holds_in_all_processes_until_its_time;
                pause_until_a_past_time_ends_the_one_before;
                change_before_the_wait_is_not_missed;
                every_watch_is_told_of_every_change;
                change_through_another_handle_ends_the_wait;
                wait_ends_when_a_delayed_job_becomes_due;
                wait_ends_when_a_pause_ends;
            }
            attempts {
                stale_lease_settles_nothing;
                settling_twice_counts_and_changes_nothing;
                job_of_a_lost_worker_goes_to_another;
                losing_one_worker_leaves_the_others_their_leases;
                job_that_loses_all_its_attempts_is_dead;
                every_claim_counts_as_an_attempt;
                interrupted_attempt_does_not_count;
                unregistered_worker_leaves_its_jobs_ready;
                beat_and_recalled_tell_which_leases_are_lost;
                beat_names_the_leases_that_the_worker_does_not_hold;
                put_back_makes_jobs_ready_without_counting;
                put_back_job_can_expire_as_before;
                put_back_leaves_leases_of_others_alone;
                cancel_takes_the_lease_from_its_holder;
                lease_of_a_deleted_job_is_recalled_as_cancelled;
                progress_is_told_while_the_attempt_runs;
                reports_under_a_stale_lease_are_dropped;
                done_job_is_over;
                dead_job_waits_for_a_kick;
                record_tells_every_attempt_with_its_times;
                attempt_that_ends_cancelled_leaves_no_result;
            }
            outcomes {
                outcome_can_be_read_once_it_is_settled;
                result_says_whether_and_where_there_are_files;
                stale_settle_leaves_nothing_to_read;
                settling_twice_keeps_the_first_outcome;
                settle_after_a_cancel_keeps_the_log_only;
                documents_and_logs_come_back_byte_for_byte;
                text_that_compresses_well_comes_back_as_well;
                logs_of_failed_attempts_stay_readable;
                job_that_waits_for_a_retry_has_no_result;
                log_of_a_running_attempt_is_what_was_reported;
                log_is_read_from_the_byte_that_is_asked_for;
                result_of_an_earlier_attempt_can_be_asked_for;
                deleting_a_job_removes_its_outcome_and_logs;
                result_of_an_ended_job_is_due_to_be_sent;
                delivery_of_a_dead_sender_is_due_again;
                failed_delivery_is_due_again_after_a_while;
                job_is_kept_until_its_result_was_sent;
                newer_result_takes_the_place_of_an_unsent_one;
            }
            submission {
                job_is_found_as_it_was_submitted;
                submitting_the_same_again_changes_nothing;
                batch_with_one_bad_job_is_refused_as_a_whole;
                id_stays_bound_to_the_first_document;
                unique_key_is_held_until_its_job_has_ended;
                unique_key_for_a_time_outlives_its_job;
                expired_job_holds_no_unique_key;
                cancelled_job_holds_no_unique_key;
                kicked_job_takes_its_unique_key_again;
                module_is_kept_by_name_and_by_digest;
                name_moves_on_and_earlier_modules_stay;
                adding_the_same_module_again_changes_nothing;
                removed_name_is_gone_and_its_modules_stay;
                underscore_and_hyphen_name_the_same_algorithm;
                job_is_pinned_to_the_module_of_its_submission;
                resubmitting_is_a_no_op_after_the_name_moved_on;
                only_another_algorithm_pins_the_job_anew;
            }
            operating {
                kick_grants_as_many_attempts_again;
                kicked_job_keeps_its_past;
                kick_of_a_delayed_job_grants_no_attempts;
                unknown_job_is_refused_by_every_action;
                waiting_job_is_cancelled_at_once;
                held_job_keeps_its_place_until_it_is_released;
                each_job_of_a_call_gets_its_own_answer;
                the_state_decides_what_can_be_done;
                changed_job_is_claimed_with_its_changes;
                changed_job_is_listed_with_its_changes;
                changed_job_keeps_its_place;
                times_in_a_change_count_from_the_change;
                only_a_job_that_never_started_can_expire;
                change_to_an_invalid_document_is_refused;
                every_job_is_listed_once_in_order_of_submission;
                listing_can_be_filtered;
                listing_can_be_filtered_by_everything_at_once;
                status_counts_every_state;
                deleted_ids_with_files_are_told_page_by_page;
                files_of_a_failed_attempt_are_told_as_well;
                lost_attempt_may_have_left_files;
                each_kind_of_end_has_its_own_retention;
                oldest_ended_jobs_are_forgotten_first;
                job_that_holds_a_unique_key_is_not_forgotten;
            }
        }
    };
}

/// Makes a test of each case for a backend, and one that compares it with the model. Cases that the backend
/// cannot do follow it: `module::case: "backend: why not"`.
macro_rules! exercise {
    ($backend:ty $(, $ignored_module:ident::$ignored:ident: $reason:literal)* $(,)?) => {
        exercise! { @with ($) $backend $(, $ignored_module::$ignored: $reason)* }
    };
    // A macro that defines macros needs a `$` to write theirs.
    (@with ($d:tt) $backend:ty $(, $ignored_module:ident::$ignored:ident: $reason:literal)*) => {
        $(
            #[expect(unused_imports, reason = "an ignored name must be one of a case")]
            use super::$ignored_module::$ignored as _;
        )*

        macro_rules! unless_ignored {
            $(([$ignored_module::$ignored] $d($test:tt)*) => { #[ignore = $reason] $d($test)* };)*
            ([$d module:ident::$d case:ident] $d($d test:tt)*) => { $d($d test)* };
        }
        macro_rules! tests {
            ($d($d module:ident { $d($d case:ident;)* })*) => {
                $d($d(
                    unless_ignored! { [$d module::$d case]
                        #[tokio::test]
                        async fn $d case() {
                            if let Some(subject) = super::subject::Subject::<$backend>::open().await {
                                super::$d module::$d case(&subject).await;
                            }
                        }
                    }
                )*)*
                unless_ignored! { [model::behaves_like_the_model]
                    #[test]
                    fn behaves_like_the_model() {
                        super::model::behaves_like_the_model::<$backend>();
                    }
                }
            };
        }
        each_case! { tests }
    };
}

mod sqlite {
    exercise! { crate::queue::sqlite::conformance::Sqlite }
}
