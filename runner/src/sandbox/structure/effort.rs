//! How much work a function's body makes for the compiler.
//!
//! Bytes do not tell: a byte of `memory.grow` takes Cranelift a hundred times as long as one of `local.get`,
//! and a loop takes longer the more values live across it. The weights below were measured (`cargo bench -p
//! longboat-benches --bench compile`): one unit is about a microsecond of one core for the worst use of an
//! operator that was found, so that a bound on their sum bounds the time of any module.

use super::super::BadModule;
use super::within;
use crate::sandbox::not_valid;
use wasmparser::{FuncValidator, FunctionBody, Operator, WasmModuleResources};

/// Units for one body. Register allocation takes memory as well as time: the worst bodies at this bound take
/// 600 MiB.
const MAX_BODY_EFFORT: u64 = 3_000_000;
/// Units for a whole module. A Python interpreter passes; the worst module that does takes about 100 s of a
/// core.
const MAX_EFFORT: u64 = 100_000_000;
/// Locals of one body, parameters included; a Python interpreter has at most 271.
const MAX_LOCALS: u64 = 5_000;
/// Loops in one body; a Python interpreter has at most 81.
const MAX_LOOPS: u64 = 1_000;

/// Units for a function that does nothing, with what lets it be called from outside.
const FUNCTION: u64 = 200;

/// What a body has been seen to contain.
#[derive(Debug, Default)]
pub(super) struct Effort {
    nanoseconds: u64,
    blocks: u64,
    loops: u64,
}

/// What an operator costs by itself, in nanoseconds.
enum Cost {
    /// It only computes.
    Plain(u64),
    /// It moves values between blocks or functions, and ends or hides so many basic blocks.
    Joint(u64, u64),
}

impl Effort {
    /// The units of a body, which is validated on the way.
    pub(super) fn of<T: WasmModuleResources>(
        validator: &mut FuncValidator<T>,
        body: &FunctionBody<'_>,
    ) -> Result<u64, BadModule> {
        let mut locals = body.get_locals_reader().map_err(not_valid)?;
        for _ in 0..locals.get_count() {
            let offset = locals.original_position();
            let (count, ty) = locals.read().map_err(not_valid)?;
            let so_far = u64::from(validator.len_locals());
            within("locals in one function", so_far + u64::from(count), MAX_LOCALS)?;
            validator.define_locals(offset, count, ty).map_err(not_valid)?;
        }
        let mut effort = Self::default();
        let mut operators = body.get_operators_reader().map_err(not_valid)?;
        while !operators.eof() {
            let (operator, offset) = operators.read_with_offset().map_err(not_valid)?;
            effort.add(&operator, validator);
            validator.op(offset, &operator).map_err(not_valid)?;
            within("units of work in one function", effort.units(), MAX_BODY_EFFORT)?;
            within("loops in one function", effort.loops, MAX_LOOPS)?;
        }
        operators.finish().map_err(not_valid)?;
        Ok(effort.units())
    }

    /// Refuses a module whose bodies are too much work together.
    pub(super) fn within(units: u64) -> Result<(), BadModule> {
        within("units of work in all functions together", units, MAX_EFFORT)
    }

    fn units(&self) -> u64 {
        FUNCTION + self.nanoseconds / 1_000
    }

    fn add<T: WasmModuleResources>(&mut self, operator: &Operator<'_>, validator: &FuncValidator<T>) {
        let (own, blocks) = match cost(operator) {
            Cost::Plain(own) => {
                self.nanoseconds += own;
                return;
            }
            Cost::Joint(own, blocks) => (own, blocks),
        };
        let live = u64::from(validator.len_locals()) + u64::from(validator.operand_stack_height());
        let (takes, gives) = operator.operator_arity(validator).unwrap_or_default();
        let values = u64::from(takes) + u64::from(gives);
        // Several passes look at all blocks for each block, or keep something for each value that lives in
        // it.
        self.blocks += blocks;
        self.nanoseconds += own + blocks * (self.blocks * 12 + live * 300) + values * (4_000 + values * 30);
        match operator {
            Operator::Loop { .. } => {
                self.loops += 1;
                self.nanoseconds += live * (15_000 + live * 10) + values * self.loops * 200;
            }
            Operator::BrTable { targets } => {
                self.nanoseconds += u64::from(targets.len()) * (1 + values) * 3_000;
            }
            _ => {}
        }
    }
}

fn cost(operator: &Operator<'_>) -> Cost {
    use Cost::{Joint, Plain};
    use Operator as O;
    match operator {
        O::LocalGet { .. } | O::LocalSet { .. } | O::LocalTee { .. } | O::Drop | O::Nop | O::End => Plain(1_000),
        O::I32Const { .. } | O::I64Const { .. } | O::F32Const { .. } | O::F64Const { .. } => Plain(1_000),
        O::Block { .. } | O::Br { .. } | O::Return | O::Unreachable => Joint(2_000, 1),
        O::If { .. } | O::BrIf { .. } | O::BrTable { .. } | O::BrOnNull { .. } | O::BrOnNonNull { .. } => {
            Joint(15_000, 2)
        }
        O::Else => Joint(5_000, 1),
        // Each loop looks at the fuel and at the epoch, and calls the host when one is over.
        O::Loop { .. } => Joint(100_000, 1),
        O::Call { .. } | O::ReturnCall { .. } => Joint(14_000, 0),
        O::CallIndirect { .. } | O::CallRef { .. } => Joint(100_000, 2),
        O::ReturnCallIndirect { .. } | O::ReturnCallRef { .. } => Joint(100_000, 2),
        // These call the host.
        O::MemoryGrow { .. } | O::TableGrow { .. } => Joint(95_000, 1),
        O::MemoryFill { .. } | O::MemoryCopy { .. } | O::MemoryInit { .. } | O::DataDrop { .. } => Joint(15_000, 0),
        O::TableFill { .. } | O::TableCopy { .. } | O::TableInit { .. } | O::ElemDrop { .. } => Joint(15_000, 0),
        O::TableGet { .. } | O::TableSet { .. } | O::RefFunc { .. } => Joint(30_000, 1),
        O::F32Ceil | O::F32Floor | O::F32Trunc | O::F32Nearest | O::F32Sqrt => Plain(12_000),
        O::F64Ceil | O::F64Floor | O::F64Trunc | O::F64Nearest | O::F64Sqrt => Plain(12_000),
        O::I32TruncF32S | O::I32TruncF32U | O::I32TruncF64S | O::I32TruncF64U => Plain(12_000),
        O::I64TruncF32S | O::I64TruncF32U | O::I64TruncF64S | O::I64TruncF64U => Plain(12_000),
        _ => Plain(5_000),
    }
}
