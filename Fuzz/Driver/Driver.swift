import CLibFuzzer
import FastableCore
import FuzzTargets
import Glibc
import Synchronization

/// libFuzzer with the target that FASTABLE_FUZZ_TARGET names; `fuzz seeds DIRECTORY` writes what to begin with.
///
/// The name is no argument since libFuzzer starts itself again for some of its work, and reads all arguments as its own.
@main
enum Driver {
    private static let target = Mutex<FuzzTarget?>(nil)

    static func main() throws {
        guard let name = getenv("FASTABLE_FUZZ_TARGET"), let target = FuzzTarget(rawValue: String(cString: name)) else {
            let names = FuzzTarget.allCases.map(\.rawValue).joined(separator: ", ")
            print("FASTABLE_FUZZ_TARGET must be one of \(names)")
            exit(2)
        }
        let arguments = CommandLine.arguments
        if arguments.count == 3, arguments[1] == "seeds" { return try writeSeeds(of: target, into: arguments[2]) }
        Self.target.withLock { $0 = target }
        var rest = CommandLine.argc
        var pointer: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        exit(LLVMFuzzerRunDriver(&rest, &pointer) { bytes, size in Driver.run(bytes, size) })
    }

    private static func run(_ bytes: UnsafePointer<UInt8>?, _ size: Int) -> CInt {
        do {
            try target.withLock { $0 }?.run(Array(UnsafeBufferPointer(start: bytes, count: size)))
        } catch {
            print("FINDING: \(error)")
            fflush(nil)
            abort()
        }
        return 0
    }

    private static func writeSeeds(of target: FuzzTarget, into directory: String) throws {
        for (index, seed) in target.seeds.enumerated() {
            try AtomicFile.write("\(directory)/seed-\(index)", seed)
        }
    }
}
