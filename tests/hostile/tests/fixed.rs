//! Every target with its fixed number of cases, each in a process of its own: what one leaves behind is not taken for
//! another's, and what ends a process is seen.

use anyhow::ensure;
use longboat_tests::build;
use std::process::Command;

fn survives(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new(env!("CARGO_BIN_EXE_hostile")).args(arguments).output()?;
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    ensure!(output.status.success(), "{}\n{said}{errors}", output.status);
    Ok(())
}

macro_rules! no_bytes_break {
    ($($target:ident)*) => {
        /// The tidy test holds this list against the fuzz targets.
        mod no_bytes_break {
            $(
                #[test]
                fn $target() -> anyhow::Result<()> {
                    super::survives(&[stringify!($target)])
                }
            )*
        }
    };
}

no_bytes_break! { beanstalkd calls config data_url document import jobs module name program quantity request response returned rule tree }

#[test]
fn a_damaged_algorithm_is_refused_or_runs_to_a_verdict() -> anyhow::Result<()> {
    let sailor = build::algorithm("drunken-sailor")?;
    let sailor = sailor.to_str().ok_or_else(|| anyhow::anyhow!("paths of the tests are text"))?;
    survives(&["module", "--sample", sailor, "--seed", "2", "--cases", "30"])
}

#[test]
fn what_there_is_no_target_for_is_an_error() {
    assert!(survives(&["nonsense"]).is_err());
}
