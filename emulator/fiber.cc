#include "emulator/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace zo2::emu {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t kStackSize = 256 << 10;  // red zones
#else
constexpr size_t kStackSize = 64 << 10;
#endif
constexpr int kMaxStacks = 1 << 14;

size_t stride() { return kStackSize + static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

#if defined(__x86_64__)

// The callee-saved registers and the return address. Ends in a jump, not in `ret`: the processor predicts returns from
// a stack of its own, which is wrong after a switch.
asm(R"(
.text
.globl zo2_emu_switch
.hidden zo2_emu_switch
.type zo2_emu_switch,@function
zo2_emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rcx
  jmpq *%rcx
.size zo2_emu_switch,.-zo2_emu_switch
)");

void* make_context(char* top, void (*entry)()) {
  void** frame = reinterpret_cast<void**>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t{15});
  *--frame = nullptr;  // so that the entry finds the stack as after a call, and unwinders end here
  *--frame = reinterpret_cast<void*>(entry);
  for (int saved = 0; saved < 6; ++saved) *--frame = nullptr;
  return frame;
}

#elif defined(__aarch64__)

asm(R"(
.text
.globl zo2_emu_switch
.hidden zo2_emu_switch
.type zo2_emu_switch,%function
zo2_emu_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  br x30
.size zo2_emu_switch,.-zo2_emu_switch
)");

void* make_context(char* top, void (*entry)()) {
  uint64_t* frame = reinterpret_cast<uint64_t*>(reinterpret_cast<uintptr_t>(top) & ~uintptr_t{15}) - 20;
  for (int saved = 0; saved < 20; ++saved) frame[saved] = 0;
  frame[11] = reinterpret_cast<uint64_t>(entry);  // x30
  return frame;
}

#else
#error "The CUDA emulator knows how to switch stacks on x86-64 and aarch64"
#endif

size_t Stacks::size() { return kStackSize; }

bool Stacks::reserve() {
  void* range = mmap(nullptr, stride() * kMaxStacks, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) return false;
  base_ = static_cast<char*>(range);
  return true;
}

char* Stacks::low(int index) {
  if (index >= kMaxStacks || (base_ == nullptr && !reserve())) return nullptr;
  const size_t page = stride() - kStackSize;
  for (; ready_ <= index; ++ready_) {
    if (mprotect(base_ + stride() * ready_ + page, kStackSize, PROT_READ | PROT_WRITE) != 0) return nullptr;
  }
  return base_ + stride() * index + page;
}

bool Stacks::contains(const void* address) const {
  const auto offset = reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(base_);
  return base_ != nullptr && offset < stride() * kMaxStacks;
}

}  // namespace zo2::emu
