/*
 * The native contract of zo2: what a backend (cpu/, cuda/) offers to the Node-API layer (binding/).
 *
 * A backend exports one function that returns its table:
 *
 *     const zo2_backend* zo2_cpu_backend(void);
 *     const zo2_backend* zo2_cuda_backend(void);
 *
 * Rules that hold for every function of the table
 *   - It returns a status and, when that is not ZO2_OK, fills `error` (never NULL) with the status and a message that
 *     says what was wrong, where, and what to do. Nothing exits, aborts, asserts on input or throws across this border.
 *   - Functions that take a stream only enqueue: they check their arguments on the host, copy them, and return. They do
 *     not wait for the device. What fails later on the device poisons the stream (see below).
 *   - Counts and offsets are 64 bits, in bytes where the name says `bytes` or `offset`, otherwise in elements.
 *   - Every function may be called from any thread; calls on one stream come from one thread at a time.
 *   - A handle stays valid until its destroy function returns. Destroying an object that queued commands still use is
 *     an error of the caller; binding/ keeps what a command uses alive until the command has run.
 *
 * Streams and events
 *   - Commands of one stream run in order. Streams are independent but for events.
 *   - stream_wait binds to the latest stream_record of that event at the time of the call; with no such record it fails
 *     with ZO2_STATUS_NOT_RECORDED. An event may be recorded again at any time; earlier waits keep what they bound to.
 *   - A command that fails poisons its stream: the commands after it are skipped, but records still fire, and carry the
 *     error. A stream that waits on an event which carries an error is poisoned with it. A poisoned stream stays so
 *     until it is destroyed. On a GPU, copies that were queued before the host learned of a failure still run; they
 *     move bytes that no skipped command has changed.
 *   - stream_destroy and device_close cancel what has not started: events fire with ZO2_STATUS_CANCELLED.
 *     stream_destroy waits for streams that this one was made to wait for; device_close cancels all of them first.
 *
 * The words (unit, wire, scratch, prepare, ...) are those of docs/concepts.md.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZO2_CONTRACT_VERSION 9u

typedef enum zo2_status {
  ZO2_OK = 0,
  ZO2_STATUS_INVALID_ARGUMENT = 1,
  ZO2_STATUS_OUT_OF_MEMORY = 2, /* the message has the byte counts: asked for, in use, limit */
  ZO2_STATUS_UNSUPPORTED = 3,   /* valid, but not by this backend or device; the message lists what is supported */
  ZO2_STATUS_DEVICE = 4,        /* no such device, or the device failed */
  ZO2_STATUS_NOT_RECORDED = 5,
  ZO2_STATUS_CANCELLED = 6,
  ZO2_STATUS_IO = 7 /* a file; the message has its path and the system's reason */
} zo2_status;

typedef struct zo2_error {
  zo2_status status;
  char message[508]; /* UTF-8, always terminated */
} zo2_error;

/* I8 and E4M3 are of the wire alone, in blocks with a scale: see zo2_segment. */
typedef enum zo2_dtype { ZO2_F32 = 0, ZO2_F16 = 1, ZO2_BF16 = 2, ZO2_I32 = 3, ZO2_I8 = 4, ZO2_E4M3 = 5 } zo2_dtype;

/* Memory a kernel may touch (DEVICE); memory at rest that copies reach without staging (HOST: pinned where that
 * exists); memory at rest in a file (FILE): copies reach it from and to HOST memory alone, gather reads rows of it into
 * HOST memory, and every other use is refused. One that was opened (file_open) is only read. */
typedef enum zo2_buffer_kind { ZO2_BUFFER_DEVICE = 0, ZO2_BUFFER_HOST = 1, ZO2_BUFFER_FILE = 2 } zo2_buffer_kind;

typedef struct zo2_device zo2_device;
typedef struct zo2_stream zo2_stream;
typedef struct zo2_event zo2_event;
typedef struct zo2_gate zo2_gate;
typedef struct zo2_buffer zo2_buffer;
typedef struct zo2_layout zo2_layout;
typedef struct zo2_program zo2_program;

/* A place in a buffer. buffer == NULL means "none" where a field allows it. */
typedef struct zo2_span {
  zo2_buffer* buffer;
  uint64_t offset; /* bytes from the start of the buffer */
} zo2_span;

/* ---- devices ----------------------------------------------------------------------------------------------------- */

typedef struct zo2_device_options {
  int32_t ordinal;       /* which device of the backend, from 0 */
  uint32_t threads;      /* CPU backend: size of the thread pool; 0: one per core this process may use */
  uint64_t memory_limit; /* bytes of DEVICE buffers that may exist at once; 0: what the device has */
  /* Test mode of the CPU backend: every command is delayed by up to `delay_microseconds`, drawn from `delay_seed`. 0:
   * off. */
  uint32_t delay_microseconds;
  uint64_t delay_seed;
  /* CPU backend: 1 forces the generic kernels, as on a CPU without vector instructions (same bits for noise and
   * prepare). */
  uint32_t generic_kernels;
  /* CUDA backend: 1 lets matrix products with an fp32 weight round their operands to tf32 (10 bits of mantissa) first;
   * the CPU backend ignores it. */
  uint32_t tf32;
  /* 1: files are read and written by threads, also where io_uring is to be had. */
  uint32_t no_io_uring;
  /* Test mode: of the objects that `allocations` of zo2_device_info counts, the n-th, from 1, and no other, fails with
   * ZO2_STATUS_OUT_OF_MEMORY when it has all of its memory. 0: off. */
  uint64_t refuse_allocation;
} zo2_device_options;

typedef struct zo2_device_info {
  char kind[16];  /* "cpu", "cuda", "cuda-emulated" */
  char name[128]; /* of the processor or the GPU */
  /* what was chosen at run time: instruction sets or compute capability, matrix product library, how files are read */
  char features[256];
  uint32_t threads;
  /* what holds the threads below the machine's cores, and memory_total below its memory: "affinity mask", or a control
   * group's file (the end of its path); empty: nothing does */
  char threads_limited_by[256];
  char memory_limited_by[256];
  uint64_t memory_total; /* bytes; of the host for the CPU backend, or what its control group may have of it */
  uint64_t memory_free;
  uint64_t memory_limit; /* as opened; 0: none */
  uint64_t device_bytes; /* DEVICE buffers that exist now */
  uint64_t device_bytes_peak;
  uint64_t host_bytes;  /* HOST buffers that exist now */
  uint64_t file_bytes;  /* FILE buffers that were made (file_create) and exist now */
  uint64_t commands;    /* commands executed since the device was opened */
  uint64_t launches;    /* of these, prepare, run, loss and gradient */
  uint64_t allocations; /* buffers, layouts, programs and streams that were asked for since then */
} zo2_device_info;

/* The file of a FILE buffer: made without a name, with room for all of its bytes, so that its room is free again when
 * the buffer is destroyed or the process ends, however it ends, unless file_link has given it a name. It is read and
 * written past the page cache where its file system can do that. */
typedef struct zo2_file_options {
  const char* folder; /* UTF-8; where it takes its room */
  uint64_t bytes;
} zo2_file_options;

/*
 * A seal: a block of a file that says what lies in another part of it. Little-endian:
 *   0   "zo2seal1"
 *   8   index, 16 bytes, each of 8 bytes: of which part, and its length
 *   24  checksum of the part: XXH64 (https://github.com/Cyan4973/xxHash, doc/xxhash_spec.md) with the seed 0
 *   32  note: ZO2_SEAL_NOTE_BYTES of the caller's
 *   56  XXH64 of all that stands before; the rest is 0
 */
#define ZO2_SEAL_BYTES 4096u
#define ZO2_SEAL_NOTE_BYTES 24u

/* ---- layout: where the tensors of one unit lie ------------------------------------------------------------------- */

enum { ZO2_SEGMENT_DECAY = 1, ZO2_SEGMENT_FROZEN = 2, ZO2_SEGMENT_GATHERED = 4 };

/*
 * One tensor of a unit, or the rows of one that this unit holds. `count` elements, contiguous in the checkpoint's
 * row-major layout. The element e of the segment has the canonical index `canonical + e`; in a GATHERED segment its
 * rows are those named by the row list of the prepare command: element (r, c) has the canonical index `canonical +
 * rows[r] * row_width + c`, and `count` is the largest number of rows times row_width.
 *
 * The wire dtypes of 8 bits store blocks: ZO2_BLOCK consecutive elements of one row, the last of a row maybe fewer.
 * Such a segment holds whole rows of row_width. An element has one byte q at wire_offset + its place, a block one byte
 * E at scale_offset + row * ceil(row_width / ZO2_BLOCK) + its place in the row; the value of the element is q * 2^(E -
 * 127), with q an int8 in -127..127, or an OCP e4m3fn of at most 448 (Open Compute Project, OFP8; E is the scale E8M0
 * of its Microscaling formats). NaN and -0 are never stored. A block of the values w is stored as
 *   scale = the smallest power of two with max |w| / scale <= 127 (I8) or 448 (E4M3), at least 2^-126 (I8) or 2^-117
 *   (E4M3), so that no value is subnormal; E = 127 + log2(scale), or 0 where every w is 0;
 *   q = round(w / scale), to nearest even or stochastically between the two numbers of the format around w / scale.
 * Every value is a bf16, so that one loses no bit as bf16. What other bytes stand for is unspecified.
 */
#define ZO2_BLOCK 64u

typedef struct zo2_segment {
  uint64_t canonical;
  uint64_t count;
  uint64_t wire_offset;    /* bytes from the start of the unit's wire bytes; a multiple of 64 */
  uint64_t scratch_offset; /* bytes from the start of every scratch; a multiple of 64 */
  uint64_t row_width;      /* of a matrix: elements in a row; otherwise 0. GATHERED, I8, E4M3: at least 1 */
  uint32_t wire_dtype;     /* F32, F16, BF16, I8, E4M3 */
  uint32_t scratch_dtype;  /* F32, F16, BF16: the compute dtype (F32 for one-dimensional parameters) */
  uint32_t flags;
  uint32_t first_row;    /* of its matrix; the matrix begins first_row * row_width before `canonical` */
  uint64_t scale_offset; /* I8, E4M3: bytes from the start of the unit's wire bytes; a multiple of 64. Otherwise 0 */
} zo2_segment;

/* ---- noise, prepare ---------------------------------------------------------------------------------------------- */

/* Gaussian and Rademacher are functions of (seed, step, direction, canonical index) alone: numerics/. BUFFER is for
 * tests: z is read as fp32 at the canonical index from `z` (DEVICE or HOST). LOW_RANK is of matrices, a function of the
 * rank and the interval of steps besides: the sum of `rank` products of a row's factor, drawn with every step, and a
 * column's, drawn with every `interval` steps; of vectors (row_width 0) it is Gaussian. */
typedef enum zo2_noise_kind {
  ZO2_NOISE_GAUSSIAN = 0,
  ZO2_NOISE_RADEMACHER = 1,
  ZO2_NOISE_BUFFER = 2,
  ZO2_NOISE_LOW_RANK = 3
} zo2_noise_kind;

typedef enum zo2_rounding { ZO2_ROUND_NEAREST = 0, ZO2_ROUND_STOCHASTIC = 1 } zo2_rounding;

/* What a step found along one of its directions, in DEVICE memory: `gradient` writes it, the step's update reads it. */
typedef struct zo2_coefficient {
  float value;     /* by how much the loss grows along the direction: see zo2_gradient_args */
  uint32_t finite; /* 1 when value is finite */
} zo2_coefficient;

enum { ZO2_STICKY_NOT_FINITE = 1, ZO2_STICKY_OVERFLOW = 2 };

/* Flags that stay set once an update went wrong, in DEVICE memory; the caller zeroes them. `step` is that of the first
 * update or step for which a flag was set. NOT_FINITE: a coefficient is not finite. OVERFLOW: a new weight does not fit
 * its wire dtype. */
typedef struct zo2_sticky {
  uint32_t flags;
  uint32_t step;
} zo2_sticky;

/* An update that has not reached the unit yet. Element by element, with D directions d = 0..D-1 and g_d =
 * coefficients[d].value:
 *   a_d = fp32(lr * g_d / D), b = fp32(lr * weight_decay), both computed in fp64 and rounded once (b = 0 without
 *   SEGMENT_DECAY);
 *   u = b * w; u = fma(a_d, z_d, u) for d in order; w' = w - u; rounded to the wire dtype.
 * When a g_d is not finite, every g counts as 0 (w still decays) and NOT_FINITE is set. When w' overflows the wire
 * dtype, that element keeps its old bytes and OVERFLOW is set. With I8 and E4M3, where a block is rounded as one, w' is
 * w itself then; what overflows is what is not finite, or above 127 * 2^121 (I8) or 448 * 2^119 (E4M3) in magnitude. */
typedef struct zo2_update {
  zo2_noise_kind noise;
  uint32_t step;
  uint32_t directions; /* D, 1..64 */
  uint64_t seed;
  zo2_span coefficients; /* D consecutive zo2_coefficient, DEVICE */
  double learning_rate;
  double weight_decay;
  zo2_span z;        /* BUFFER noise: fp32 table of direction 0 */
  uint64_t z_stride; /* bytes from the table of one direction to the next */
  uint32_t rank;     /* LOW_RANK noise: 1..16 */
  uint32_t interval; /* LOW_RANK noise: steps, at least 1 */
} zo2_update;

/* Where prepare leaves the weights, and how far along the direction they are moved there. The sides of W+ and W- have
 * the eps of a step and its negative. */
typedef struct zo2_side {
  zo2_span scratch; /* DEVICE */
  float eps;        /* finite */
} zo2_side;

/*
 * prepare: pending updates in, updated wire bytes out, perturbed weights out, in one pass over the unit.
 *
 * For every segment and element: w = wire value widened to fp32; the updates are applied in order, each rounded to the
 * wire dtype (so that many pending updates equal updates applied one by one); with `store` the result is written back
 * to the wire; then, from the rounded value, every side s gets fma(eps_s, z, w) in fp32, rounded once, to nearest even,
 * to the scratch dtype. FROZEN segments are neither updated nor perturbed: every side gets w.
 *   side_count == 0: nothing is perturbed (a flush). When every eps is 0, no noise is drawn, and a side gets w itself,
 *   rounded.
 * STOCHASTIC rounding concerns wire dtypes below fp32 and draws with the seed and step of the update being applied,
 * purpose 2. In I8 and E4M3 a whole block is updated in fp32, then scaled and rounded anew, for each update. What is
 * written (wire, scratches, sticky) shares no byte with what else is written, nor with the rows and coefficients that
 * are read.
 */
typedef struct zo2_prepare_args {
  const zo2_layout* layout;
  zo2_span wire;
  const zo2_side* sides;
  uint32_t side_count; /* 0..2 */
  zo2_span rows;       /* GATHERED segments: int32 row numbers, DEVICE */
  uint64_t row_count;
  zo2_noise_kind noise; /* of z, which all sides share */
  uint64_t seed;
  uint32_t step;
  uint32_t direction; /* 0..2^24-1 */
  zo2_span z;         /* BUFFER noise */
  uint32_t rank;      /* LOW_RANK noise: 1..16 */
  uint32_t interval;  /* LOW_RANK noise: steps, at least 1 */
  uint32_t store;     /* 1: write the updated wire bytes */
  zo2_rounding rounding;
  zo2_span sticky; /* zo2_sticky; may be none when update_count is 0 */
  const zo2_update* updates;
  uint32_t update_count;
} zo2_prepare_args;

/* ---- programs ---------------------------------------------------------------------------------------------------- */

/*
 * A program is a flat list of 64-bit floating point words (integers up to 2^53 are exact):
 *
 *   version (4), operand count, op count, symbol count, maximum of each symbol...
 *   operands: space, offset (bytes), dtype, rows, columns, row stride (elements)            6 words each
 *   ops: opcode, number of words that follow, words...
 *
 * `rows` of an operand is a count, or -1 - s for the run-time value of symbol s (at most its maximum). An operand
 * (space, offset) is resolved against the binding of that space when the program runs. All bounds are checked once,
 * against the maxima, when the program is created with the sizes of its spaces; a run then only checks that each symbol
 * is within its maximum and that each bound space is large enough.
 */
enum {
  ZO2_SPACE_WEIGHTS = 0,   /* a scratch of the unit (or its wire bytes, when those are used as they are) */
  ZO2_SPACE_CARRIED = 1,   /* activations that live from unit to unit, of one probe and micro-batch */
  ZO2_SPACE_WORKSPACE = 2, /* activations that live inside one run */
  ZO2_SPACE_INPUTS = 3,    /* int32 tables of one micro-batch */
  ZO2_SPACE_RESULTS = 4,   /* log-probabilities, logits */
  ZO2_SPACE_CACHE = 5,     /* keys and values that live from pass to pass */
  ZO2_SPACES = 6
};

enum {
  ZO2_SYMBOL_ROWS = 0, /* tokens of the micro-batch, packed without padding */
  ZO2_SYMBOL_SEQUENCES = 1,
  ZO2_SYMBOL_HEAD_ROWS = 2,  /* rows whose logits are needed */
  ZO2_SYMBOL_TARGETS = 3,    /* tokens that are scored */
  ZO2_SYMBOL_TABLE_ROWS = 4, /* rows of a gathered table */
  /* rows of keys and values that come from parameters and stand in front of sequences */
  ZO2_SYMBOL_PREFIX_ROWS = 5,
  ZO2_SYMBOL_KEY_ROWS = 6, /* rows of keys and values in all: tokens and what stands in front of them */
  ZO2_SYMBOLS = 7
};

enum {
  ZO2_ACTIVATION_NONE = 0,
  ZO2_ACTIVATION_RELU = 1,
  ZO2_ACTIVATION_GELU = 2,      /* exact, with erf */
  ZO2_ACTIVATION_GELU_TANH = 3, /* x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 */
  ZO2_ACTIVATION_SILU = 4       /* x / (1 + exp(-x)) */
};
enum { ZO2_TILE_FIRST = 1, ZO2_TILE_LAST = 2 };

/*
 * Opcodes and their words. Operands are named by index; -1 stands for an absent optional one. Activations are F32 or
 * the compute dtype, weights any float dtype; arithmetic is fp32 whatever the storage, reductions deterministic.
 */
enum {
  /* out table index rowStart rowCount accumulate
   * out[r, :] = (accumulate ? out[r, :] : 0) + table[index[r] - rowStart, :] for index[r] in [rowStart, rowStart +
   * rowCount); other rows of out are left as they are. index: int32 [rows, 1]. */
  ZO2_OP_EMBED = 1,
  /* out x weight bias|-1 residual|-1 activation scale inner
   * out[M, N] = activation(scale (x[M, K] weight[N, K]^T) + bias[N]) + residual[M, N]; with `inner` (0 or 1), the
   * residual is added before the activation. bias: [1, N]; scale: a finite fp32. out may be the residual's own memory.
   */
  ZO2_OP_LINEAR = 2,
  /* out x gain bias|-1 epsilon
   * out = (x - mean) / sqrt(variance + epsilon) * gain + bias along the columns; variance is the biased one; gain,
   * bias: [1, N]. out may be x's own memory. */
  ZO2_OP_LAYER_NORM = 3,
  /* out q k v sequences heads kvHeads scale window
   * Causal attention over packed sequences; q, out: [rows, heads * d]; k, v: [keyRows, kvHeads * d]; sequences: int32
   * [S, 4] or [S, 5] = start, length (rows of q), prefixStart, prefixLength, keyStart (rows of k and v). With four
   * columns keyStart is start, and k and v have as many rows as q. Row start + i attends to all prefix rows and to the
   * rows keyStart .. keyStart + i. With a window (0: none), only to those of them whose position is greater than its
   * own minus window; the prefix has the positions 0 .. prefixLength - 1, row start + i and its key keyStart + i have
   * prefixLength + i. No two sequences share a row of q; they may share rows of k and v. No matrix of length x length
   * exists in memory. Rows outside every sequence are left as they are. out may be q's own memory. */
  ZO2_OP_ATTENTION = 4,
  /* out x index
   * out[r, :] = x[index[r], :]; index: int32 [rows of out, 1]. */
  ZO2_OP_GATHER_ROWS = 5,
  /* logprob state x weight targets vocabStart tileFlags
   * One tile of the streamed head: logits = x[H, K] weight[V, K]^T stand for vocabulary entries vocabStart ..
   * vocabStart + V; the running maximum and sum of exponentials are kept in state (f32 [H, 2]); targets: int32 [N, 2] =
   * row of x, vocabulary entry (-100: ignored, its log-probability is 0). TILE_FIRST initialises; TILE_LAST turns
   * logprob (f32 [N, 1]) into log-probabilities. */
  ZO2_OP_CROSS_ENTROPY = 6,
  /* out x gain epsilon
   * gain: [1, G]; x, out: [M, N], N a multiple of G. Each group of G columns of a row is normalised by itself:
   * out = x / sqrt(mean(x^2) + epsilon) * gain. out may be x's own memory. */
  ZO2_OP_RMS_NORM = 7,
  /* out x positions headSize rotary scaling count f_0 .. f_{count - 1}
   * Rotary position embedding (RoFormer, arXiv 2104.09864) of heads of headSize columns each; rotary is even, at most
   * headSize; count is rotary / 2. positions: int32 [M, 1]. For every head and j < count, in fp32: angle =
   * fp32(position) * fp32(f_j), c = cos(angle) * scaling, s = sin(angle) * scaling; (x_j, x_{j + count}) becomes (x_j c
   * - x_{j + count} s, x_{j + count} c + x_j s). The columns of a head from rotary on are copied. out may be x's own
   * memory. */
  ZO2_OP_ROPE = 8,
  /* out gate up activation
   * out = activation(gate) * up, all [M, N]. out may be gate's own memory. */
  ZO2_OP_GATED_ACTIVATION = 9,
  /* out x
   * out = x in out's dtype, rounded to nearest even. */
  ZO2_OP_CAST = 10,
  /* out x
   * out[c, r] = x[r, c] in out's dtype, rounded to nearest even. x: [M, N], out: [N, M], both of a fixed number of
   * rows. */
  ZO2_OP_TRANSPOSE = 11,
  /* out x index
   * out[index[r], :] = x[r, :] in out's dtype, rounded to nearest even; index: int32 [rows of x, 1]. Other rows of out
   * are left as they are. No row may be named twice: what such a row holds afterwards is undefined. */
  ZO2_OP_SCATTER_ROWS = 12
};

typedef struct zo2_run_args {
  const zo2_program* program;
  zo2_span spaces[ZO2_SPACES]; /* DEVICE; those the program does not use may be none */
  uint64_t symbols[ZO2_SYMBOLS];
} zo2_run_args;

/* ---- loss -------------------------------------------------------------------------------------------------------- */

typedef enum zo2_loss_kind {
  ZO2_LOSS_TOKENS = 0, /* sum over targets of -logprob */
  /* choices: int32 [C, 2] = begin, end into targets; examples: int32 [E, 3] = begin, end into choices, label. The score
   * of a choice is the mean (or sum) of its targets' log-probabilities; an example adds the cross entropy of its scores
   * at its label. */
  ZO2_LOSS_CHOICES_MEAN = 1,
  ZO2_LOSS_CHOICES_SUM = 2,
  /* Losses of logits. BINARY: sum over targets of the binary cross entropy of the logit x with the label y, max(x, 0) -
   * x y + log1p(exp(-|x|)). SQUARED: sum over targets of (x - y)^2. labels: f32 [targets]. */
  ZO2_LOSS_BINARY = 3,
  ZO2_LOSS_SQUARED = 4,
  /* Extractive question answering: values are row-major [targets / 2, 2], the logits of each row to be the start and
   * the end of an answer. examples: int32 [E, 4] = begin, end (rows, begin < end), start, end of the answer, counted
   * from begin, or -100 for a half that is ignored. An example adds half the cross entropy of its rows' start logits at
   * start, and half that of their end logits at end; an ignored half adds 0. */
  ZO2_LOSS_SPANS = 5
} zo2_loss_kind;

/* Adds the micro-batch's summed loss, in fp64 and in batch order, to losses[probe]; with `first` it starts from 0. The
 * other losses stay as they are. Spans that a kind does not name may be none. */
typedef struct zo2_loss_args {
  zo2_loss_kind kind;
  zo2_span values; /* f32 [targets], DEVICE: log-probabilities, or logits */
  uint64_t targets;
  zo2_span labels;
  zo2_span choices;
  uint64_t choice_count;
  zo2_span examples;
  uint64_t example_count;
  zo2_span losses; /* f64, one for each probe of the step, DEVICE */
  uint32_t probe;
  uint32_t first;
} zo2_loss_args;

/* In the place of a probe: there is none, and 0 in the place of its loss. */
#define ZO2_NO_PROBE UINT32_MAX

/* Which losses a coefficient is the difference of: numbers of probes, which may be the same. */
typedef struct zo2_difference {
  uint32_t minuend;
  uint32_t subtrahend; /* or ZO2_NO_PROBE */
} zo2_difference;

/* What the losses of a step's probes, P of them, become before differences are taken. */
typedef enum zo2_shaping {
  ZO2_SHAPING_NONE = 0,   /* they stay as they are */
  ZO2_SHAPING_ZSCORE = 1, /* (loss - mean) / (s + 1e-8), s the deviation over P */
  /* rank / (P - 1) - 1/2 with ranks from 0 for the smallest loss; equal losses share the mean of their ranks. Where one
   * loss is not finite, none of them is. */
  ZO2_SHAPING_RANK = 2
} zo2_shaping;

/*
 * gradient: the end of a step. Divides every loss by `total` (labelled tokens or examples of the whole batch), in fp64
 * and in place; shapes them, which changes `losses` no more; then, for each direction d,
 *   coefficients[d].value = fp32((shaped[minuend] - shaped[subtrahend]) / divisor)
 * with the probes of differences[d], and `normalised` divides that in fp64 by the deviation of the D directions' losses
 *   s = sqrt(sum of (losses[minuend] - mean)^2 / (D - 1)); where s is 0, coefficients are 0.
 * Every operation is one of fp64, sums run in the order of probes or directions and count the losses from their first,
 * and the end is rounded to fp32 once (numerics/coefficients.h). A value that is not finite sets NOT_FINITE in `sticky`
 * with `step`. What is written (losses, coefficients, sticky) shares no byte.
 *
 * MeZO (arXiv 2305.17333) has the probes w + eps z and w - eps z, one difference {0, 1} and the divisor 2 eps; FZOO
 * (arXiv 2506.09034) the probes w, w + eps u_1, ..., the differences {1, 0}, {2, 0}, ... normalised and the divisor
 * eps.
 */
typedef struct zo2_gradient_args {
  zo2_span losses; /* f64 [probe_count], DEVICE */
  uint32_t probe_count;
  double total; /* positive */
  const zo2_difference* differences;
  uint32_t direction_count; /* 1..64 */
  double divisor;           /* positive */
  zo2_shaping shaping;      /* RANK: of 2 probes or more */
  uint32_t normalised;
  zo2_span coefficients; /* direction_count consecutive zo2_coefficient, DEVICE */
  uint32_t step;
  zo2_span sticky;
} zo2_gradient_args;

/* Called once, from any thread, when the record that the event held at the time of event_notify has fired; before
 * event_notify returns, when it had fired already. `error` has status ZO2_OK or what poisoned the stream; it is valid
 * only during the call. */
typedef void (*zo2_notify)(void* user, const zo2_error* error);

typedef struct zo2_backend {
  uint32_t contract_version;
  const char* kind; /* "cpu", "cuda" */

  /* How many devices there are; 0 with a reason in `error->message` (status ZO2_OK) when the backend cannot be used
   * here. */
  zo2_status (*device_count)(int32_t* count, zo2_error* error);
  zo2_status (*device_open)(const zo2_device_options* options, zo2_device** device, zo2_error* error);
  /* Cancels what has not started, fires every event, joins every thread. All objects of the device must be destroyed
   * first. */
  void (*device_close)(zo2_device* device);
  zo2_status (*device_info)(zo2_device* device, zo2_device_info* info, zo2_error* error);

  zo2_status (*stream_create)(zo2_device* device, const char* name, zo2_stream** stream, zo2_error* error);
  void (*stream_destroy)(zo2_stream* stream);
  /* Enqueues a failure, as if a command had failed with `cause`. */
  zo2_status (*stream_fail)(zo2_stream* stream, const zo2_error* cause, zo2_error* error);
  zo2_status (*stream_record)(zo2_stream* stream, zo2_event* event, zo2_error* error);
  zo2_status (*stream_wait)(zo2_stream* stream, zo2_event* event, zo2_error* error);
  /* The stream stops here until the gate is opened. */
  zo2_status (*stream_hold)(zo2_stream* stream, zo2_gate* gate, zo2_error* error);

  zo2_status (*event_create)(zo2_device* device, zo2_event** event, zo2_error* error);
  void (*event_destroy)(zo2_event* event);
  zo2_status (*event_notify)(zo2_event* event, zo2_notify notify, void* user, zo2_error* error);
  /* When the latest record fired, in seconds of a steady clock of the device; NOT_RECORDED before that. */
  zo2_status (*event_time)(zo2_event* event, double* seconds, zo2_error* error);

  zo2_status (*gate_create)(zo2_device* device, zo2_gate** gate, zo2_error* error);
  void (*gate_open)(zo2_gate* gate);
  void (*gate_destroy)(zo2_gate* gate); /* opens it first */

  /* DEVICE and HOST buffers. HOST memory is zeroed; DEVICE memory is not. Bytes may be 0. The start is aligned to 256
   * bytes, that of a HOST buffer of at least 4096 bytes to 4096. */
  zo2_status (*buffer_create)(zo2_device* device, zo2_buffer_kind kind, uint64_t bytes, zo2_buffer** buffer,
                              zo2_error* error);
  /* A FILE buffer, zeroed. Blocks while the file system finds room. OUT_OF_MEMORY when it has none, IO when the file
   * cannot be made there. */
  zo2_status (*file_create)(zo2_device* device, const zo2_file_options* options, zo2_buffer** buffer, zo2_error* error);
  /* A FILE buffer over a regular file that is there (path: UTF-8), with the bytes that it has now: copies and gathers
   * read it, past the page cache where its file system can do that, and what would write into it is refused. Whoever
   * else changes the file changes what is read; one that is renamed or taken away is still this one. IO when it cannot
   * be opened. */
  zo2_status (*file_open)(zo2_device* device, const char* path, zo2_buffer** buffer, zo2_error* error);
  /* Gives the file of a FILE buffer a name that nothing has, on the same file system: it stays when the buffer is
   * destroyed. IO where that cannot be: the file system may have no way to make files without a name first. */
  zo2_status (*file_link)(zo2_buffer* buffer, const char* path, zo2_error* error);
  void (*buffer_destroy)(zo2_buffer* buffer);
  uint64_t (*buffer_bytes)(const zo2_buffer* buffer);
  void* (*buffer_host_pointer)(const zo2_buffer* buffer); /* HOST buffers; NULL for others */

  zo2_status (*layout_create)(zo2_device* device, const zo2_segment* segments, uint64_t count, zo2_layout** layout,
                              zo2_error* error);
  void (*layout_destroy)(zo2_layout* layout);

  zo2_status (*program_create)(zo2_device* device, const double* words, uint64_t count,
                               const uint64_t space_bytes[ZO2_SPACES], zo2_program** program, zo2_error* error);
  void (*program_destroy)(zo2_program* program);

  /* Commands. copy: between any two buffers, but for a FILE one, whose other side is HOST; regions may not overlap.
   * Copies from and to a FILE are fastest where offsets and bytes are multiples of 4096; what fails there poisons the
   * stream with ZO2_STATUS_IO. fill: every byte becomes `byte` (255 makes NaN of every float dtype). gather: row i of
   * dst becomes row (rows[i] - row_base) of src, row_bytes each; rows: int32, in a HOST buffer; dst is HOST where src
   * is a FILE. seal: writes the seal of `bytes` of HOST memory to `seal`, a place in a FILE at a multiple of 4096;
   * `note` (HOST) is read when the command runs. */
  zo2_status (*copy)(zo2_stream* stream, zo2_span dst, zo2_span src, uint64_t bytes, zo2_error* error);
  zo2_status (*fill)(zo2_stream* stream, zo2_span dst, uint8_t byte, uint64_t bytes, zo2_error* error);
  zo2_status (*gather)(zo2_stream* stream, zo2_span dst, zo2_span src, zo2_span rows, uint64_t count, int64_t row_base,
                       uint64_t row_bytes, zo2_error* error);
  zo2_status (*seal)(zo2_stream* stream, zo2_span seal, uint64_t index, zo2_span memory, uint64_t bytes, zo2_span note,
                     zo2_error* error);
  zo2_status (*prepare)(zo2_stream* stream, const zo2_prepare_args* args, zo2_error* error);
  zo2_status (*run)(zo2_stream* stream, const zo2_run_args* args, zo2_error* error);
  zo2_status (*loss)(zo2_stream* stream, const zo2_loss_args* args, zo2_error* error);
  zo2_status (*gradient)(zo2_stream* stream, const zo2_gradient_args* args, zo2_error* error);
} zo2_backend;

const zo2_backend* zo2_cpu_backend(void);
const zo2_backend* zo2_cuda_backend(void);

#ifdef __cplusplus
}
#endif
