import FastableCore

/// The memory of this host.
package enum HostMemory {
    /// What programs could get without anything being swapped out; `nil` when the kernel does not tell.
    package static func available() -> Int? {
        guard let bytes = try? SmallFile.read("/proc/meminfo", atMost: 64 * 1024) else { return nil }
        return available(in: String(decoding: bytes, as: UTF8.self))
    }

    package static func available(in text: String) -> Int? {
        for line in text.split(separator: "\n") where line.hasPrefix("MemAvailable:") {
            let kibibytes = line.split(separator: " ").dropFirst().first.flatMap { Int($0) }
            return kibibytes.flatMap { $0 <= Int.max / 1024 ? $0 * 1024 : nil }
        }
        return nil
    }
}
