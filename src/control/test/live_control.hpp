// SPDX-License-Identifier: BSD-3-Clause
// For tests: a controller of fake models with real pollers and sockets, and the calls that are made of it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "control/live/controller.hpp"
#include "control/model/hardware.hpp"
#include "control/rpc/methods.hpp"
#include "control/test/fake_catalogue.hpp"

namespace vmux::control::test {

class LiveControl : public testing::Test {
 protected:
  explicit LiveControl(unsigned pollers = 1) : pollers_(pollers) {}
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("vmux-live-" + std::to_string(::getpid()));
    std::filesystem::create_directory(directory_);
    DaemonSpec daemon;
    daemon.pollers.count = pollers_;
    controller_ = std::move(*Controller::create(fake::kCatalogue, hardware_, events_, daemon));
    add_methods(methods_, *controller_);
  }
  void TearDown() override {
    controller_.reset();
    std::filesystem::remove_all(directory_);
  }
  /// Parameters of a port whose model sends nothing.
  [[nodiscard]] Json port(const std::string& name, const Json& more = Json::object()) const {
    Json params{{"name", name}, {"model", "silent"}, {"socket", (directory_ / name).string()}};
    params.update(more);
    return params;
  }
  Outcome<Json> call(const std::string& method, const Json& params) { return methods_.call(method, params); }
  Json show(const std::string& name, const char* kind = "port") {
    return call(std::string{kind} + ".show", {{"name", name}}).value();
  }

  std::filesystem::path directory_;
  Hardware hardware_;
  EventRing events_;
  std::unique_ptr<Controller> controller_;
  Methods methods_;
  std::uint64_t since_ = 0, by_ = 0;  // of the events that have been read; who the last of them was about

 private:
  unsigned pollers_;
};

}  // namespace vmux::control::test
