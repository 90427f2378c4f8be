import CLinux

@main
struct Program {
    static func main() {
        guard let process = Init() else { fastable_exit(1) }
        process.run()
    }
}
