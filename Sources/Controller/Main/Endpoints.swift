import ControllerServices
import FastableCore

/// The addresses of this controller, known when both listeners have their ports: then the services learn them, and a file tells
/// set-up scripts.
actor EndpointAnnouncer {
    private let configuration: ControllerConfiguration
    private let tokenFile: String
    private let services: ControllerServices
    private var apiPort: Int?
    private var nodePort: Int?
    private var waiters: [CheckedContinuation<Void, Never>] = []
    private var isComplete: Bool { apiPort != nil && nodePort != nil }

    init(configuration: ControllerConfiguration, tokenFile: String, services: ControllerServices) {
        self.configuration = configuration
        self.tokenFile = tokenFile
        self.services = services
    }

    func apiListens(port: Int) {
        apiPort = port
        announce()
    }

    func nodesListen(port: Int) {
        nodePort = port
        announce()
    }

    /// Returns when both listeners serve.
    func complete() async {
        guard !isComplete else { return }
        await withCheckedContinuation { waiters.append($0) }
    }

    private func announce() {
        guard let apiPort, let nodePort else { return }
        let endpoints = configuration.endpoints(apiPort: apiPort, nodePort: nodePort)
        services.setEndpoints(endpoints)
        let file = EndpointFile(
            apiUrl: endpoints.apiURL, mcpUrl: endpoints.mcpURL, nodeListener: endpoints.nodeListener.description,
            tokenFile: tokenFile, version: Version.text)
        // Set-up scripts wait for the file and say so when it does not come.
        try? file.save(to: configuration.stateDirectory + "/endpoints.json")
        for waiter in waiters { waiter.resume() }
        waiters = []
    }
}

private struct EndpointFile: Codable {
    var apiUrl: String
    var mcpUrl: String
    var nodeListener: String
    var tokenFile: String
    var version: String

    func save(to path: String) throws {
        try AtomicFile.write(path, Array(try JSON.encodePretty(self)))
    }
}

extension ControllerConfiguration {
    /// What people and nodes are told, with the ports that were really taken.
    func endpoints(apiPort: Int, nodePort: Int) -> ControllerServices.Endpoints {
        let scheme = tlsCertificate == nil ? "http" : "https"
        let api = HostPort(host: apiListen.host, port: apiPort) ?? apiListen
        let node = nodeAdvertise ?? HostPort(host: nodeListen.host, port: nodePort) ?? nodeListen
        return ControllerServices.Endpoints(apiURL: apiPublicURL ?? "\(scheme)://\(api)", nodeListener: node)
    }

    /// Names and addresses that the node listener's certificate carries.
    var nodeListenerNames: [String] {
        var names = ["localhost", "127.0.0.1", "::1"]
        for name in [nodeListen.host, nodeAdvertise?.host].compactMap({ $0 })
        where !names.contains(name) && !["0.0.0.0", "::"].contains(name) {
            names.append(name)
        }
        return names
    }
}
