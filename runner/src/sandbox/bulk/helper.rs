//! The functions that stand for long fills and copies, instruction by instruction.

use super::Bulk;
use wasm_encoder::{BlockType, Function, InstructionSink};

/// So many bytes are filled or copied at once: some microseconds.
pub(super) const PIECE: i32 = 256 << 10;
/// The parameters of a helper.
const TO: u32 = 0;
const WHAT: u32 = 1;
const LENGTH: u32 = 2;

/// The function that stands for an instruction.
pub(super) fn function(bulk: Bulk, segments: &[usize]) -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    // What is short is done at once, and so is what does not fit: the instruction itself traps then.
    code.local_get(LENGTH).i32_const(PIECE).i32_le_u();
    let [to, from] = bulk.memories();
    does_not_fit(&mut code, TO, to);
    code.i32_or();
    match bulk {
        Bulk::Fill { .. } => {}
        Bulk::Copy { .. } => {
            does_not_fit(&mut code, WHAT, from);
            code.i32_or();
        }
        Bulk::Init { segment, .. } => {
            // What was dropped has no length any more, so that the first piece of it traps.
            let length = segments.get(segment as usize).map_or(0, |length| *length as i64);
            range_end(&mut code, WHAT);
            code.i64_const(length).i64_gt_u().i32_or();
        }
    }
    code.if_(BlockType::Empty);
    code.local_get(TO).local_get(WHAT).local_get(LENGTH);
    instruction(&mut code, bulk);
    code.return_().end();
    match bulk {
        Bulk::Fill { .. } | Bulk::Init { .. } => forwards(&mut code, bulk),
        Bulk::Copy { .. } => {
            // Source and destination may overlap: no piece must overwrite what a later one reads.
            code.local_get(TO).local_get(WHAT).i32_le_u().if_(BlockType::Empty);
            forwards(&mut code, bulk);
            code.else_();
            backwards(&mut code, bulk);
            code.end();
        }
    }
    code.end();
    function
}

/// Leaves 1 if the range of `LENGTH` bytes from a local on is not within a memory, and 0 if it is.
fn does_not_fit(code: &mut InstructionSink<'_>, start: u32, memory: u32) {
    range_end(code, start);
    code.memory_size(memory).i64_extend_i32_u().i64_const(16).i64_shl().i64_gt_u();
}

/// Leaves where the range of `LENGTH` bytes from a local on ends.
fn range_end(code: &mut InstructionSink<'_>, start: u32) {
    code.local_get(start).i64_extend_i32_u().local_get(LENGTH).i64_extend_i32_u().i64_add();
}

fn instruction(code: &mut InstructionSink<'_>, bulk: Bulk) {
    match bulk {
        Bulk::Fill { memory } => code.memory_fill(memory),
        Bulk::Copy { to, from } => code.memory_copy(to, from),
        Bulk::Init { memory, segment } => code.memory_init(memory, segment),
    };
}

/// Piece by piece from the beginning; the last one may be shorter.
fn forwards(code: &mut InstructionSink<'_>, bulk: Bulk) {
    code.loop_(BlockType::Empty);
    code.local_get(TO).local_get(WHAT).i32_const(PIECE);
    instruction(code, bulk);
    code.local_get(TO).i32_const(PIECE).i32_add().local_set(TO);
    if !matches!(bulk, Bulk::Fill { .. }) {
        code.local_get(WHAT).i32_const(PIECE).i32_add().local_set(WHAT);
    }
    code.local_get(LENGTH).i32_const(PIECE).i32_sub().local_tee(LENGTH);
    code.i32_const(PIECE).i32_gt_u().br_if(0).end();
    code.local_get(TO).local_get(WHAT).local_get(LENGTH);
    instruction(code, bulk);
}

/// Piece by piece from the end; the last one, which is the first of the range, may be shorter.
fn backwards(code: &mut InstructionSink<'_>, bulk: Bulk) {
    code.loop_(BlockType::Empty);
    code.local_get(LENGTH).i32_const(PIECE).i32_sub().local_set(LENGTH);
    code.local_get(TO).local_get(LENGTH).i32_add();
    code.local_get(WHAT).local_get(LENGTH).i32_add();
    code.i32_const(PIECE);
    instruction(code, bulk);
    code.local_get(LENGTH).i32_const(PIECE).i32_gt_u().br_if(0).end();
    code.local_get(TO).local_get(WHAT).local_get(LENGTH);
    instruction(code, bulk);
}
