// SPDX-License-Identifier: BSD-3-Clause
#include "control/log/log_context.hpp"

#include <algorithm>
#include <array>

namespace vmux::control {
namespace {

// The first row that fits counts. An asterisk stands for whatever the line has there.
constexpr auto kAdvice = std::to_array<LogAdvice>({
    {"it speaks vhost-user, and this socket", "attach the VM with the line that vmuxctl vm-args NAME has"},
    {"it speaks vfio-user, and this socket", "attach the VM with the line that vmuxctl vm-args NAME has"},
    {" stopped until a reset: ",
     "the guest's driver begins anew when its interface is set down and up; vmuxctl trace NAME"},
    {" queue * stopped: ", "the guest's driver begins anew when its interface is set down and up; vmuxctl trace NAME"},
    {"the admin queue cannot be read",
     "load the guest's driver anew; vmuxctl port dma NAME shows what memory the card has"},
    {"a control queue cannot be read",
     "load the guest's driver anew; vmuxctl port dma NAME shows what memory the card has"},
    {" is reached by message only: ", "give the VM shared memory of a file: memory-backend-memfd,share=on"},
    {"its memory file was truncated", "its VMM shortened the file of the VM's memory: start the VM anew"},
    {"truncated its memory file", "its VMM shortened the file of the VM's memory: start the VM anew"},
    {" reports a fatal error", "the host's kernel log says which (AER); start the VM anew"},
    {"the host wants * back (request ", "vmuxctl port remove NAME gives the device back"},
    {" cannot be had: ", "vmuxctl doctor NAME; vmuxctl host check"},
    {"request * refused: ", "vmuxctl trace NAME shows the requests as they come"},
});

/// Behind "port " or "uplink ", up to the first colon: "vm0".
std::string_view subject_of(std::string_view line) {
  for (const std::string_view kind : {"port ", "uplink "}) {
    if (line.substr(0, kind.size()) == kind) line.remove_prefix(kind.size());
  }
  return line.substr(0, line.find(": "));
}

/// Its parts, in their order.
bool says(std::string_view line, std::string_view pattern) {
  while (true) {
    const std::string_view part = pattern.substr(0, pattern.find('*'));
    const std::size_t at = line.find(part);
    if (at == std::string_view::npos) return false;
    if (part.size() == pattern.size()) return true;
    line.remove_prefix(at + part.size());
    pattern.remove_prefix(part.size() + 1);
  }
}

}  // namespace

std::string advice_for(std::string_view line, const std::string& port) {
  std::string advice = "vmuxctl doctor NAME says what else is wrong";
  line.remove_prefix(std::min(line.find(": "), line.size()));  // a port's name says nothing
  for (const LogAdvice& row : kAdvice) {
    if (!says(line, row.says)) continue;
    advice = row.advice;
    break;
  }
  if (const std::size_t at = advice.find("NAME"); at != std::string::npos) advice.replace(at, 4, port);
  return advice;
}

LogBook& LogBook::of_process() {
  static LogBook book;
  return book;
}

void LogBook::set_client(const std::string& port, pid_t client) {
  const std::lock_guard lock{mutex_};
  clients_[port] = client;
}

void LogBook::remove(const std::string& port) {
  const std::lock_guard lock{mutex_};
  clients_.erase(port);
}

LogContext LogBook::context_of(const LogRecord& record) const {
  LogContext context;
  {
    const std::lock_guard lock{mutex_};
    const auto port = clients_.find(subject_of(record.line));
    if (port == clients_.end()) return context;
    context.port = port->first;
    context.client = port->second;
  }
  if (record.level >= LogLevel::warning) context.advice = advice_for(record.line, context.port);
  return context;
}

void LogBook::keep(std::string line) {
  const std::lock_guard lock{mutex_};
  lines_.push_back(std::move(line));
  if (lines_.size() > kLines) lines_.pop_front();
}

std::vector<std::string> LogBook::lines() const {
  const std::lock_guard lock{mutex_};
  return {lines_.begin(), lines_.end()};
}

}  // namespace vmux::control
