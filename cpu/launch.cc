#include "cpu/launch.h"

#include "cpu/contract.h"
#include "cpu/ops/loss.h"
#include "cpu/program_run.h"
#include "cpu/runtime/device.h"

namespace zo2::cpu {

void enqueue_run(Stream& stream, const zo2_run_args& args) {
  Device& device = stream.device();
  const contract::RunCommand command = contract::resolve_run(&device, args);
  stream.work(Stream::Counted::kLaunch, [&device, command] {
    run_program(*command.program, command.spaces.data(), command.symbols.data(), device.pool(), device.vectorised());
  });
}

void enqueue_loss(Stream& stream, const zo2_loss_args& args) {
  const contract::LossCommand command = contract::resolve_loss(&stream.device(), args);
  stream.work(Stream::Counted::kLaunch, [command] {
    const double sum = summed_loss(command);
    double& loss = command.minus ? command.state->loss_minus : command.state->loss_plus;
    loss = command.first ? sum : loss + sum;
  });
}

void enqueue_gradient(Stream& stream, const zo2_gradient_args& args) {
  const contract::GradientCommand command = contract::resolve_gradient(&stream.device(), args);
  stream.work(Stream::Counted::kLaunch,
              [command] { finish_gradient(command.state, command.total, command.eps, command.step, command.sticky); });
}

}  // namespace zo2::cpu
