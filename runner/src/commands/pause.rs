//! `longboat pause` and `longboat resume`.

use super::{Node, Usage};
use crate::cli::{Format, PauseArgs};
use crate::output;
use jiff::Timestamp;
use longboat::job::Tube;
use serde::Serialize;

/// How a tube stands.
#[derive(Serialize)]
struct Standing {
    tube: Tube,
    paused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

pub async fn pause(node: &Node, args: PauseArgs, format: Format) -> anyhow::Result<bool> {
    let now = Timestamp::now();
    let until = match args.period {
        Some(period) => Some(now.checked_add(period.0)?),
        None => args.until,
    };
    if until.is_some_and(|until| until <= now) {
        return Err(Usage("--for, --until: a pause ends in the future".to_owned()).into());
    }
    node.queue()?.pause(&args.tube, until).await?;
    let standing = Standing { tube: args.tube, paused: true, until };
    output::print(format, &standing, |Standing { tube, until, .. }| match until {
        Some(until) => format!("tube {tube} is paused until {}", until.strftime("%F %T UTC")),
        None => format!("tube {tube} is paused until it is resumed"),
    })?;
    Ok(true)
}

pub async fn resume(node: &Node, tube: Tube, format: Format) -> anyhow::Result<bool> {
    // That no pause ended may be a slip in the tube's name, but what was wished for is so.
    if !node.queue()?.resume(&tube).await? {
        output::tell(format_args!("tube {tube} was not paused; `longboat status` shows which are"));
    }
    let standing = Standing { tube, paused: false, until: None };
    output::print(format, &standing, |Standing { tube, .. }| format!("tube {tube} is open"))?;
    Ok(true)
}
