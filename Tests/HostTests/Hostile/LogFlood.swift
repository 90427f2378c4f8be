import FastableCore

extension HostileAttack {
    /// More than is kept, from many processes on both streams.
    static let logFlood = HostileAttack(
        testDescription: "log flood", script: "for n in 1 2 3 4; do yes & yes >&2 & done; wait"
    ) { scene in
        let page = try await scene.host.tool("shell.output", ["execId": scene.exec, "limit": 1])
        return page["totalBytes"]?.integer ?? 0 >= Limits.execOutputKeptBytes / 2
    }
}
