"""What all CUDA kernels share: storage types, device intrinsics, and launches on torch's current stream.

Importing this file imports ``numba.cuda``; operators do so on their first CUDA tensor.  A kernel family is a function
``build(*constants) -> (function, signature[, launch bounds])``: a closure specialised by its constants, with an
explicit signature of pointers and 64-bit integers.  Pointers cost one parameter and no conversion per tensor, where
array arguments cost seven parameters and tens of microseconds.

The same source runs in Numba's CUDA simulator (``NUMBA_ENABLE_CUDASIM=1``) on CPU tensors, which is how the kernels
are tested where there is no GPU.  The simulator knows neither intrinsics nor pointers: each intrinsic has a plain
Python twin below, and a pointer becomes the flat view of a tensor's storage.
"""

import functools
import importlib.util
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from llvmlite import ir
from numba import config, cuda, types
from numba.extending import intrinsic
from torch import Tensor

if importlib.util.find_spec("numba_cuda") is None:  # the numba.cuda inside Numba itself is no longer developed
    raise ImportError(
        "scans of CUDA tensors need numba-cuda: pip install 'tsmodels[cuda12]' or 'tsmodels[cuda13]', whichever "
        "torch.version.cuda says; or move the tensors to the CPU (tensor.cpu())"
    )

SIMULATED = bool(config.ENABLE_CUDASIM)
if not SIMULATED:
    from cuda.core import Device, LaunchConfig, Program, ProgramOptions, Stream, launch

WARP = 32
WHOLE_WARP = 0xFFFFFFFF
int64 = types.int64

if SIMULATED:

    def device(function: Callable) -> Callable:
        """A function that kernels call, inlined into them."""
        return cuda.jit(device=True)(function)
else:

    def device(function: Callable) -> Callable:
        """A function that kernels call, inlined into them (any other form asks for a device when it is declared)."""
        return cuda.jit(device=True, inline="always")(function)


def device_intrinsic(simulated: Callable) -> Callable[[Callable], Callable]:
    """Decorator of an intrinsic's typing function; ``simulated`` is its plain Python twin."""
    return lambda typing: simulated if SIMULATED else intrinsic(typing)


def _bfloat16_to_float32(bits):
    return np.array(np.uint32(bits) << np.uint32(16), np.uint32).view(np.float32)[()]


def _float32_to_bfloat16(value):
    word = int(np.array(value, np.float32).view(np.uint32)[()])
    if word & 0x7FFFFFFF > 0x7F800000:
        return np.uint16(word >> 16 | 0x40)
    return np.uint16((word + 0x7FFF + (word >> 16 & 1)) >> 16)


@device_intrinsic(_bfloat16_to_float32)
def _widened(typing_context, bits):
    """The float32 whose upper half is ``bits``."""
    word = ir.IntType(32)

    def codegen(ctx, builder, sig, args):
        return builder.bitcast(builder.shl(builder.zext(args[0], word), ir.Constant(word, 16)), ir.FloatType())

    return types.float32(types.uint16), codegen


@device_intrinsic(_float32_to_bfloat16)
def _narrowed(typing_context, value):
    """The upper half of a float32, rounded to nearest even; a NaN stays one."""
    word, half = ir.IntType(32), ir.IntType(16)

    def codegen(ctx, builder, sig, args):
        def constant(value):
            return ir.Constant(word, value)

        bits = builder.bitcast(args[0], word)
        odd = builder.and_(builder.lshr(bits, constant(16)), constant(1))
        rounded = builder.lshr(builder.add(builder.add(bits, constant(0x7FFF)), odd), constant(16))
        quiet = builder.or_(builder.lshr(bits, constant(16)), constant(0x40))
        is_nan = builder.fcmp_unordered("uno", args[0], args[0])
        return builder.trunc(builder.select(is_nan, quiet, rounded), half)

    return types.uint16(types.float32), codegen


@device_intrinsic(lambda x: np.exp2(np.float32(x)))
def _exp2_approximate(typing_context, x):
    """2**x by the special function unit: relative error 2**-22, results below 2**-126 become 0."""

    def codegen(ctx, builder, sig, args):
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType()])
        return builder.asm(kind, "ex2.approx.ftz.f32 $0, $1;", "=f,f", args, False)

    return types.float32(types.float32), codegen


def _four(p, i):
    return p[i], p[i + 1], p[i + 2], p[i + 3]


def _set_four(p, i, a, b, c, d):
    p[i], p[i + 1], p[i + 2], p[i + 3] = a, b, c, d


def _quad_address(ctx, builder, sig, args):
    index = ctx.cast(builder, args[1], sig.args[1], types.int64)
    element = ctx.get_value_type(sig.args[0].dtype)
    vector = ir.VectorType(element, 4)
    return builder.bitcast(builder.gep(args[0], [index]), vector.as_pointer()), vector


@device_intrinsic(_four)
def load4(typing_context, p, i):
    """Four neighbours ``p[i:i + 4]`` in one load; the address must be a multiple of their size."""
    dtype = p.dtype

    def codegen(ctx, builder, sig, args):
        address, _ = _quad_address(ctx, builder, sig, args)
        quad = builder.load(address, align=4 * dtype.bitwidth // 8)
        lanes = [builder.extract_element(quad, ir.Constant(ir.IntType(32), k)) for k in range(4)]
        return ctx.make_tuple(builder, sig.return_type, lanes)

    return types.UniTuple(dtype, 4)(p, i), codegen


@device_intrinsic(_set_four)
def store4(typing_context, p, i, a, b, c, d):
    """Write four neighbours ``p[i:i + 4]`` in one store; the address must be a multiple of their size."""
    dtype = p.dtype

    def codegen(ctx, builder, sig, args):
        address, vector = _quad_address(ctx, builder, sig, args)
        quad = ir.Constant(vector, ir.Undefined)
        for k in range(4):
            quad = builder.insert_element(quad, args[2 + k], ir.Constant(ir.IntType(32), k))
        builder.store(quad, address, align=4 * dtype.bitwidth // 8)
        return ctx.get_dummy_value()

    return types.void(p, i, dtype, dtype, dtype, dtype), codegen


@device
def least(a, b):
    """The smaller integer (``min`` is an overload, which would ask for a device)."""
    return a if a < b else b


@device
def _as_it_is(value):
    return value


@device
def _float32(value):
    return types.float32(value)


@device
def _float16(value):
    return types.float16(value)


class Storage(NamedTuple):
    """How a torch dtype lies in memory and what is computed with it."""

    name: str
    pointer: Any  # numba type of an argument
    compute: Any  # numba type of the arithmetic
    widen: Callable  # element in memory -> compute
    narrow: Callable  # compute -> element in memory
    load: Callable  # load(pointer, index) -> compute
    load_if: Callable  # load_if(pointer, index, wanted) -> compute: 0 if not wanted
    store: Callable  # store(pointer, index, compute)


def _storage(name: str, memory: Any, compute: Any, widen: Callable, narrow: Callable) -> Storage:
    @device
    def load(p, i):
        return widen(p[i])

    @device
    def load_if(p, i, wanted):
        raw = memory(0)
        if wanted:  # nothing but the load depends on it: so loads one after the other wait together, not in turn
            raw = p[i]
        return widen(raw)

    @device
    def store(p, i, value):
        p[i] = narrow(value)

    return Storage(name, types.CPointer(memory), compute, widen, narrow, load, load_if, store)


def _plain(name: str) -> Storage:
    kind = getattr(types, name)
    return _storage(name, kind, kind, _as_it_is, _as_it_is)


_STORAGE = {
    torch.float32: _plain("float32"),
    torch.float64: _plain("float64"),
    torch.complex64: _plain("complex64"),
    torch.complex128: _plain("complex128"),
    torch.float16: _storage("float16", types.float16, types.float32, _float32, _float16),
    torch.bfloat16: _storage("bfloat16", types.uint16, types.float32, _widened, _narrowed),
}


def storage_of(dtype: torch.dtype) -> Storage:
    """How a tensor of this dtype is read and written in kernels."""
    return _STORAGE[dtype]


@device
def _exp2_float64(x):
    return math.exp2(x)


def exp2_for(storage: Storage) -> Callable:
    """2**x in the arithmetic of a storage type: the special function unit for float32, a library call for float64."""
    return _exp2_approximate if storage.compute == types.float32 else _exp2_float64


class Source(NamedTuple):
    """One kernel before it is compiled."""

    function: Callable
    signature: tuple
    launch_bounds: tuple[int, int] | None = None  # (threads a block, blocks a multiprocessor at least): caps registers


_ENTRY = re.compile(r"\.entry (\w+)")


def _compiled(source: Source, device: torch.device) -> Any:
    """The kernel's machine code for a device.

    Numba translates it to PTX and CUDA's own linker, not the driver, to machine code: so a compiler newer than the
    driver will do.
    """
    major, minor = torch.cuda.get_device_capability(device)
    ptx, _ = cuda.compile_ptx(source.function, source.signature, cc=(major, minor), launch_bounds=source.launch_bounds)
    code = Program(ptx, "ptx", ProgramOptions(arch=f"sm_{major}{minor}")).compile("cubin")
    return code.get_kernel(_ENTRY.search(ptx)[1])


@functools.lru_cache(64)
def _stream(handle: int) -> Any:
    """One of torch's streams, which stays torch's own."""
    return Stream.from_handle(handle)


class KernelFamily:
    """Kernels made from one source by ``build(*constants)``, each compiled on its first use.

    They are launched through ``cuda.core``, which takes microseconds where Numba's dispatcher takes a hundred.
    """

    def __init__(self, build: Callable[..., tuple]):
        self._build = build
        self._kernels: dict = {}
        functools.update_wrapper(self, build)

    def source(self, *constants: Any) -> Source:
        """The kernel for these constants, not compiled."""
        return Source(*self._build(*constants))

    def launch(self, constants: tuple, grid: tuple, block: tuple, *args: Any) -> None:
        """Queue one kernel on torch's current stream of the device of the tensors among ``args``.

        Tensors are passed as pointers to their first element, so they must be laid out as the kernel's indices say.
        Parts of the grid along y and z are limited to 65535.
        """
        if 0 in grid:
            return
        if SIMULATED:
            self._simulate(constants, grid, block, args)
            return
        where = next(a.device for a in args if isinstance(a, Tensor))
        with torch.cuda.device(where):
            Device(where.index).set_current()  # a thread of autograd may not have a context yet
            stream = _stream(torch.cuda.current_stream(where).cuda_stream)
            values = (a.data_ptr() if isinstance(a, Tensor) else int(a) for a in args)
            launch(stream, LaunchConfig(grid=grid, block=block), self._kernel(constants, where), *values)

    def _kernel(self, constants, device):
        key = (constants, device.index)
        if key not in self._kernels:
            self._kernels[key] = _compiled(self.source(*constants), device)
        return self._kernels[key]

    def _simulate(self, constants, grid, block, args):
        cuda.jit(self.source(*constants).function)[grid, block](
            *(_SimulatedPointer(a) if isinstance(a, Tensor) else a for a in args)
        )


def kernel_family(build: Callable[..., tuple]) -> KernelFamily:
    """Decorator: ``build`` as a ``KernelFamily``."""
    return KernelFamily(build)


class _SimulatedPointer:
    """A pointer to the first element of a CPU tensor, which knows where the tensor's storage ends."""

    def __init__(self, tensor: Tensor):
        start = tensor.storage_offset()
        length = tensor.untyped_storage().nbytes() // tensor.element_size() - start
        flat = torch.as_strided(tensor.detach(), (length,), (1,), start)
        # bfloat16 is unknown to NumPy: its bits
        self._flat = flat.view(torch.int16).numpy().view(np.uint16) if flat.dtype == torch.bfloat16 else flat.numpy()

    def _checked(self, i):
        if not 0 <= i < len(self._flat):
            raise IndexError(f"a kernel reads or writes element {i} of {len(self._flat)}")
        return i

    def __getitem__(self, i):
        return self._flat[self._checked(i)]

    def __setitem__(self, i, value):
        self._flat[self._checked(i)] = value


def multiprocessors(tensor: Tensor) -> int:
    """Number of multiprocessors of the tensor's device; in the simulator one, so that splits are tested explicitly."""
    return 1 if SIMULATED else torch.cuda.get_device_properties(tensor.device).multi_processor_count
