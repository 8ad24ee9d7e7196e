// The few calls into libtorch that tch does not wrap. Tensors come as tch's pointers: `at::Tensor*`. Every function returns null, or what went wrong.

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/_foreach_sub.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/_fused_sgd.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>

#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <exception>
#include <string>
#include <vector>

namespace {

thread_local std::string last_error;

// C++ exceptions must not reach Rust.
template <typename Body> const char *caught(Body body) {
  try {
    body();
    return nullptr;
  } catch (const std::exception &error) {
    last_error = error.what();
  } catch (...) {
    last_error = "unknown C++ exception";
  }
  return last_error.c_str();
}

// What happens to weights is not recorded.
template <typename Body> const char *guarded(Body body) {
  return caught([&] {
    at::NoGradGuard no_grad;
    body();
  });
}

std::vector<at::Tensor> tensors(at::Tensor *const *pointers, size_t count) {
  std::vector<at::Tensor> result;
  result.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    result.push_back(*pointers[i]);
  }
  return result;
}

// Takes the gradients out of the parameters, so that the next backward pass stores its own instead of adding to them.
std::vector<at::Tensor> take_gradients(std::vector<at::Tensor> &parameters) {
  std::vector<at::Tensor> result;
  result.reserve(parameters.size());
  for (auto &parameter : parameters) {
    TORCH_CHECK(parameter.grad().defined(), "a parameter has no gradient");
    result.push_back(parameter.grad());
    parameter.mutable_grad() = at::Tensor();
  }
  return result;
}

} // namespace

extern "C" {

const char *retune_adam(at::Tensor *const *parameters, at::Tensor *const *means, at::Tensor *const *variances, size_t count, int64_t step,
                        double learning_rate, double beta1, double beta2, double epsilon, double weight_decay, bool decoupled) {
  return guarded([&] {
    if (count == 0) {
      return;
    }
    auto values = tensors(parameters, count);
    auto gradients = take_gradients(values);
    auto first = tensors(means, count);
    auto second = tensors(variances, count);
    // All parameters have made the same number of steps, so that one tensor serves all.
    auto number = at::full({}, static_cast<double>(step), values[0].options().dtype(at::kFloat).requires_grad(false));
    std::vector<at::Tensor> steps(count, number);
    if (decoupled) {
      at::_fused_adamw_(values, gradients, first, second, {}, steps, learning_rate, beta1, beta2, weight_decay, epsilon, false, false);
    } else {
      at::_fused_adam_(values, gradients, first, second, {}, steps, learning_rate, beta1, beta2, weight_decay, epsilon, false, false);
    }
  });
}

const char *retune_sgd(at::Tensor *const *parameters, at::Tensor *const *momenta, size_t count, double learning_rate, double momentum,
                       double weight_decay, bool nesterov) {
  return guarded([&] {
    if (count == 0) {
      return;
    }
    auto values = tensors(parameters, count);
    auto gradients = take_gradients(values);
    // The buffers start at zero, which makes the first step like every other.
    auto buffers = momentum == 0.0 ? std::vector<at::Tensor>() : tensors(momenta, count);
    at::_fused_sgd_(values, gradients, buffers, weight_decay, momentum, learning_rate, 0.0, nesterov, false, false);
  });
}

// libtorch has no fused kernel for it; these are the operations of PyTorch's `foreach` form.
const char *retune_rmsprop(at::Tensor *const *parameters, at::Tensor *const *squares, at::Tensor *const *momenta, size_t count, double learning_rate,
                           double decay, double momentum, double epsilon, double weight_decay) {
  return guarded([&] {
    if (count == 0) {
      return;
    }
    auto values = tensors(parameters, count);
    auto gradients = take_gradients(values);
    auto means = tensors(squares, count);
    if (weight_decay != 0.0) {
      gradients = at::_foreach_add(gradients, values, weight_decay);
    }
    at::_foreach_mul_(means, decay);
    at::_foreach_addcmul_(means, gradients, gradients, 1.0 - decay);
    auto roots = at::_foreach_sqrt(means);
    at::_foreach_add_(roots, epsilon);
    if (momentum == 0.0) {
      at::_foreach_addcdiv_(values, gradients, roots, -learning_rate);
      return;
    }
    auto buffers = tensors(momenta, count);
    at::_foreach_mul_(buffers, momentum);
    at::_foreach_addcdiv_(buffers, gradients, roots, 1.0);
    at::_foreach_add_(values, buffers, -learning_rate);
  });
}

// The operations of PyTorch's `clip_grad_norm_`.
const char *retune_clip(at::Tensor *const *parameters, size_t count, double longest, double *length) {
  return guarded([&] {
    std::vector<at::Tensor> gradients;
    for (auto &parameter : tensors(parameters, count)) {
      if (parameter.grad().defined()) {
        gradients.push_back(parameter.grad());
      }
    }
    if (gradients.empty()) {
      return;
    }
    auto whole = at::linalg_vector_norm(at::stack(at::_foreach_norm(gradients, 2)), 2);
    *length = whole.item<double>();
    double factor = longest / (*length + 1e-6);
    if (factor < 1.0) {
      at::_foreach_mul_(gradients, factor);
    }
  });
}

const char *retune_pull(at::Tensor *const *parameters, at::Tensor *const *anchors, size_t count, double strength) {
  return guarded([&] {
    if (count == 0) {
      return;
    }
    auto values = tensors(parameters, count);
    std::vector<at::Tensor> gradients;
    for (auto &parameter : values) {
      TORCH_CHECK(parameter.grad().defined(), "a parameter has no gradient");
      gradients.push_back(parameter.grad());
    }
    at::_foreach_add_(gradients, at::_foreach_sub(values, tensors(anchors, count)), strength);
  });
}

const char *retune_lerp(at::Tensor *const *averages, at::Tensor *const *values, size_t count, double weight) {
  return guarded([&] {
    if (count > 0) {
      auto means = tensors(averages, count);
      at::_foreach_lerp_(means, tensors(values, count), weight);
    }
  });
}

// What a step casts is kept until the casting ends, so a filter is cast once for all its uses.
const char *retune_autocast(bool cuda, bool on) {
  return guarded([&] {
    auto device = cuda ? at::kCUDA : at::kCPU;
    if (on) {
      at::autocast::set_autocast_dtype(device, at::kBFloat16);
      at::autocast::increment_nesting();
      at::autocast::set_autocast_enabled(device, true);
    } else {
      at::autocast::set_autocast_enabled(device, false);
      if (at::autocast::decrement_nesting() == 0) {
        at::autocast::clear_cache();
      }
    }
  });
}

// Gives away the images with the channels of a pixel side by side, which oneDNN convolves faster on a CPU (measured) and cuDNN takes as
// well. Gradients flow through.
const char *retune_channels_last(const at::Tensor *images, at::Tensor **result) {
  return caught([&] { *result = new at::Tensor(images->contiguous(at::MemoryFormat::ChannelsLast)); });
}

// Gives away each parameter and buffer with its name. What is loaded is a program, which may run.
const char *retune_scripted(const char *path, void *list, void (*push)(void *, const char *, at::Tensor *)) {
  return guarded([&] {
    auto module = torch::jit::load(path, at::kCPU);
    for (const auto &parameter : module.named_parameters()) {
      push(list, parameter.name.c_str(), new at::Tensor(parameter.value));
    }
    for (const auto &buffer : module.named_buffers()) {
      push(list, buffer.name.c_str(), new at::Tensor(buffer.value));
    }
  });
}

const char *retune_deterministic() {
  return guarded([] {
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/true);
    at::globalContext().setDeterministicCuDNN(true);
    // Filling every new tensor with NaN finds mistakes in libtorch, not in us, and costs time.
    at::globalContext().setDeterministicFillUninitializedMemory(false);
  });
}

} // extern "C"
