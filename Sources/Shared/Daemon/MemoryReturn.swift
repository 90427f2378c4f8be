import CLinux
import FastableCore
import ServiceLifecycle

/// Gives memory back to the machine once a daemon does not need it any more. By itself the C library keeps most of what a busy moment
/// took, for as long as the process lives.
struct MemoryReturn: Service {
    /// Few pools of memory, however many threads there are: what one has freed another can use. Call before threads are made.
    static func prepare() { fst_memory_pools(2) }

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: .seconds(Limits.memoryReturnSeconds))
                fst_memory_return()
            }
        }
    }
}
