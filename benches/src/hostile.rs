//! Modules that are as hard to compile as their size permits.
//!
//! Each kind repeats what one step of the compiler finds hardest: registers for many values at once, merges of many
//! locals, checks in loops, calls of the host, instructions that become many.

use wasm_encoder::{
    BlockType, CodeSection, ExportKind, ExportSection, Function, FunctionSection, InstructionSink, MemArg,
    MemorySection, MemoryType, Module, RefType, TableSection, TableType, TypeSection, ValType,
};

/// A kind of body, and the variants of it that are measured.
pub struct Kind {
    /// What it is called in the table.
    pub name: &'static str,
    /// How wide, with how many locals and how deep it is made.
    pub shapes: &'static [Shape],
    body: Body,
}

enum Body {
    /// The same operators again and again, on a value of a local's type that stays on the stack.
    Same(Option<u32>, fn(&mut InstructionSink<'_>)),
    /// Anything else.
    Other(fn(&mut Function, usize, Shape)),
}

/// Values that calls and loops take and give, locals, and blocks within each other.
#[derive(Debug, Clone, Copy)]
pub struct Shape(pub usize, pub u32, pub u32);

/// The locals that every body has besides those of its shape.
const I32: u32 = 0;
const I64: u32 = 1;
const F64: u32 = 2;
const V128: u32 = 3;
const OWN: u32 = 4;
/// Two functions that do nothing; one of them takes and gives what the shape says.
const NOTHING: u32 = 0;
const WIDE: u32 = 1;
const PLAIN: &[Shape] = &[Shape(0, 0, 0)];
const LOCALS: &[Shape] = &[Shape(0, 30, 300), Shape(0, 300, 100), Shape(0, 1_000, 10), Shape(0, 4_000, 30)];
const DEPTHS: &[Shape] = &[Shape(0, 0, 10), Shape(0, 0, 300), Shape(0, 0, 5_000)];
const WIDTHS: &[Shape] = &[Shape(1, 0, 0), Shape(4, 0, 0), Shape(16, 0, 0)];

/// All kinds.
pub const KINDS: &[Kind] = &[
    same("float sums", Some(F64), |i| drop_it(i.local_get(F64).f64_add())),
    same("float rounding", Some(F64), |i| drop_it(i.f64_nearest().f64_sqrt().f64_ceil().f64_floor())),
    same("float to integer", Some(F64), |i| drop_it(i.i64_trunc_f64_u().f64_convert_i64_u())),
    same("divisions", Some(I64), |i| drop_it(i.local_get(I64).i64_rem_s().local_get(I64).i64_div_s())),
    same("loads", Some(I32), |i| drop_it(i.i32_load(at(0)))),
    same("stores", None, |i| drop_it(i.local_get(I32).local_get(I32).i32_store(at(0)))),
    same("selects", Some(F64), |i| drop_it(i.local_get(F64).local_get(I32).select())),
    same("vector sums", Some(V128), |i| drop_it(i.local_get(V128).f64x2_add().local_get(V128).f32x4_mul())),
    same("vector rounding", Some(V128), |i| drop_it(i.f64x2_sqrt().f64x2_nearest().f32x4_sqrt())),
    same("vector shuffles", Some(V128), |i| drop_it(i.local_get(V128).i8x16_shuffle(SHUFFLE).i8x16_popcnt())),
    same("vector products", Some(V128), |i| drop_it(i.local_get(V128).i64x2_mul().i64x2_abs())),
    same("vector conversions", Some(V128), |i| {
        drop_it(i.i32x4_trunc_sat_f64x2_u_zero().f64x2_convert_low_i32x4_u().i32x4_trunc_sat_f32x4_u());
    }),
    same("loops", None, |i| drop_it(i.loop_(BlockType::Empty).end())),
    same("calls", None, |i| drop_it(i.call(NOTHING))),
    same("indirect calls", None, |i| drop_it(i.local_get(I32).call_indirect(0, NOTHING))),
    same("branches", None, |i| drop_it(i.local_get(I32).br_if(0))),
    same("traps", None, |i| drop_it(i.local_get(I32).if_(BlockType::Empty).unreachable().end())),
    same("returns", None, |i| drop_it(i.local_get(I32).if_(BlockType::Empty).return_().end())),
    same("ifs with results", Some(I32), |i| {
        drop_it(i.if_(BlockType::Result(ValType::I32)).local_get(I32).else_().i32_const(1).end());
    }),
    same("memory.grow", Some(I32), |i| drop_it(i.memory_grow(0))),
    same("memory.fill", None, |i| drop_it(i.local_get(I32).local_get(I32).local_get(I32).memory_fill(0))),
    same("memory.copy", None, |i| drop_it(i.local_get(I32).local_get(I32).local_get(I32).memory_copy(0, 0))),
    same("table.get and set", None, |i| drop_it(i.local_get(I32).local_get(I32).table_get(0).table_set(0))),
    same("table.grow", Some(I32), |i| drop_it(i.local_set(I32).ref_func(NOTHING).local_get(I32).table_grow(0))),
    other("values on the stack", PLAIN, values_on_the_stack),
    other("nested loops", DEPTHS, nested_loops),
    other("nested blocks", DEPTHS, nested_blocks),
    other("br_tables", DEPTHS, br_tables),
    other("loops over locals", LOCALS, loops_over_locals),
    other("loops beside locals", LOCALS, loops_beside_locals),
    other("ifs over locals", LOCALS, ifs_over_locals),
    other("calls beside locals", LOCALS, calls_beside_locals),
    other("wide calls", &[Shape(4, 0, 0), Shape(16, 0, 0)], wide_calls),
    other("wide loops", WIDTHS, wide_loops),
    other("nothing", PLAIN, |_, _, _| {}),
];

const SHUFFLE: [u8; 16] = [3, 17, 5, 31, 2, 9, 30, 1, 0, 12, 13, 7, 22, 23, 24, 6];

const fn same(name: &'static str, on: Option<u32>, unit: fn(&mut InstructionSink<'_>)) -> Kind {
    Kind { name, shapes: PLAIN, body: Body::Same(on, unit) }
}

const fn other(name: &'static str, shapes: &'static [Shape], write: fn(&mut Function, usize, Shape)) -> Kind {
    Kind { name, shapes, body: Body::Other(write) }
}

/// Ends a chain of instructions.
fn drop_it(_: &mut InstructionSink<'_>) {}

impl Kind {
    /// A command with so many functions of this kind, each of about so many bytes.
    pub fn module(&self, shape: Shape, size: usize, times: usize) -> Vec<u8> {
        let own = [ValType::I32, ValType::I64, ValType::F64, ValType::V128];
        let mut locals = own.map(|ty| (1, ty)).to_vec();
        locals.push((shape.1, ValType::I32));
        let mut function = Function::new(locals);
        match self.body {
            Body::Same(on, unit) => {
                if let Some(local) = on {
                    function.instructions().local_get(local);
                }
                until(&mut function, size, |i, _| unit(i));
                if on.is_some() {
                    function.instructions().drop();
                }
            }
            Body::Other(write) => write(&mut function, size, shape),
        }
        function.instructions().end();
        command(&function.into_raw_body(), times, shape.0)
    }
}

fn at(offset: u64) -> MemArg {
    MemArg { offset, align: 0, memory_index: 0 }
}

fn until(function: &mut Function, size: usize, mut unit: impl FnMut(&mut InstructionSink<'_>, u32)) -> u32 {
    let mut times = 0;
    while function.byte_len() < size {
        unit(&mut function.instructions(), times);
        times += 1;
    }
    times
}

/// Pushes values that the compiler cannot know.
fn push(function: &mut Function, values: usize) {
    for _ in 0..values {
        function.instructions().i32_const(0).i32_load(at(0));
    }
}

fn pop(function: &mut Function, values: usize) {
    for _ in 0..values {
        function.instructions().drop();
    }
}

fn set_locals(function: &mut Function, locals: u32) {
    for local in 0..locals {
        function.instructions().i32_const(0).i32_load(at(0)).local_set(OWN + local);
    }
}

fn sum_locals(function: &mut Function, locals: u32) {
    function.instructions().i32_const(0);
    for local in 0..locals {
        function.instructions().local_get(OWN + local).i32_add();
    }
    function.instructions().local_set(I32);
}

fn values_on_the_stack(function: &mut Function, size: usize, _: Shape) {
    let values = until(function, size * 6 / 7, |i, n| drop_it(i.i32_const(0).f64_load(at(u64::from(n % 8_000) * 8))));
    for _ in 1..values {
        function.instructions().f64_add();
    }
    pop(function, values.min(1) as usize);
}

fn nested_loops(function: &mut Function, size: usize, Shape(_, _, depth): Shape) {
    until(function, size, |i, _| {
        (0..depth).for_each(|_| drop_it(i.loop_(BlockType::Empty)));
        (0..depth).for_each(|_| drop_it(i.end()));
    });
}

fn nested_blocks(function: &mut Function, size: usize, Shape(_, _, depth): Shape) {
    until(function, size, |i, _| {
        (0..depth).for_each(|_| drop_it(i.block(BlockType::Empty)));
        (0..depth).for_each(|n| drop_it(i.local_get(I32).br_if(depth - n - 1).end().block(BlockType::Empty).end()));
    });
}

fn br_tables(function: &mut Function, size: usize, Shape(_, _, depth): Shape) {
    (0..depth).for_each(|_| drop_it(function.instructions().block(BlockType::Empty)));
    until(function, size, |i, _| {
        drop_it(i.block(BlockType::Empty).local_get(I32).br_table(0..depth, 0).end());
    });
    (0..depth).for_each(|_| drop_it(function.instructions().end()));
}

fn loops_over_locals(function: &mut Function, size: usize, Shape(_, locals, depth): Shape) {
    until(function, size, |i, _| {
        (0..depth).for_each(|_| drop_it(i.loop_(BlockType::Empty)));
        for local in OWN..OWN + locals {
            i.local_get(local).i32_const(0).i32_load(at(0)).i32_add().local_set(local);
        }
        (0..depth).for_each(|_| drop_it(i.i32_const(0).i32_load(at(0)).br_if(0).end()));
    });
}

fn loops_beside_locals(function: &mut Function, size: usize, Shape(_, locals, _): Shape) {
    set_locals(function, locals);
    function.instructions().loop_(BlockType::Empty);
    until(function, size, |i, n| {
        let local = OWN + n % locals;
        i.loop_(BlockType::Empty).local_get(local).br_if(0).i32_const(1).local_set(local).end();
    });
    sum_locals(function, locals);
    function.instructions().local_get(I32).br_if(0).end();
}

fn ifs_over_locals(function: &mut Function, size: usize, Shape(_, locals, _): Shape) {
    set_locals(function, locals);
    until(function, size, |i, n| {
        let (one, two) = (OWN + n % locals, OWN + n * 7 % locals);
        i.local_get(one).if_(BlockType::Empty).i32_const(1).local_set(two).end();
    });
    sum_locals(function, locals);
}

fn calls_beside_locals(function: &mut Function, size: usize, Shape(_, locals, _): Shape) {
    set_locals(function, locals);
    until(function, size, |i, _| drop_it(i.call(NOTHING)));
    sum_locals(function, locals);
}

fn wide_calls(function: &mut Function, size: usize, Shape(values, _, _): Shape) {
    push(function, values);
    until(function, size, |i, _| drop_it(i.call(WIDE)));
    pop(function, values);
}

fn wide_loops(function: &mut Function, size: usize, Shape(values, _, _): Shape) {
    push(function, values);
    until(function, size, |i, _| {
        i.loop_(BlockType::FunctionType(WIDE)).call(NOTHING).i32_const(0).i32_load(at(0)).br_if(0).end();
    });
    pop(function, values);
}

fn command(body: &[u8], times: usize, values: usize) -> Vec<u8> {
    let (mut types, mut functions, mut code) = (TypeSection::new(), FunctionSection::new(), CodeSection::new());
    let wide = vec![ValType::I32; values];
    types.ty().function([], []);
    types.ty().function(wide.clone(), wide);
    functions.function(NOTHING).function(WIDE);
    let (mut nothing, mut back) = (Function::new([]), Function::new([]));
    nothing.instructions().end();
    (0u32..).take(values).for_each(|value| drop_it(back.instructions().local_get(value)));
    back.instructions().end();
    code.function(&nothing).function(&back);
    for _ in 0..times {
        functions.function(NOTHING);
        code.raw(body);
    }
    let (mut tables, mut memories, mut exports) = (TableSection::new(), MemorySection::new(), ExportSection::new());
    let element_type = RefType::FUNCREF;
    tables.table(TableType { element_type, minimum: 16, maximum: None, table64: false, shared: false });
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    exports.export("_start", ExportKind::Func, NOTHING).export("memory", ExportKind::Memory, 0);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&tables).section(&memories).section(&exports).section(&code);
    module.finish()
}
