import FastableCore
import ServiceLifecycle

#if canImport(Glibc)
    import Glibc
#endif

/// Gives memory back to the machine once a daemon does not need it any more. By itself the C library keeps most of what a busy moment
/// took, for as long as the process lives.
struct MemoryReturn: Service {
    /// Few pools of memory, however many threads there are: what one has freed another can use. Call before threads are made.
    static func prepare() {
        #if canImport(Glibc)
            mallopt(M_ARENA_MAX, 2)
        #endif
    }

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: .seconds(Limits.memoryReturnSeconds))
                #if canImport(Glibc)
                    malloc_trim(0)
                #endif
            }
        }
    }
}
