import ControllerDomain
import ControllerStore
import FastableCore

/// `status`: the controller at a glance. For operators.
struct StatusOperation: Sendable {
    let store: any Store
    let nodes: NodeOperations
    let configuration: ControllerServices.Configuration
    let endpoints: EndpointBox
    let metrics: Metrics

    var all: [Operation] { [status] }

    private struct Nothing: Decodable, Sendable {}

    struct Answer: Encodable, Sendable {
        var version: String
        var apiUrl: String
        var mcpUrl: String
        var tokenFile: String
        var nodeListener: String
        var nodes: [NodeView]
        var projects: Int
        var execsRunning: Int
    }

    private var status: Operation {
        .make(
            "status", .init("Show the controller", "Shows the controller's addresses, its nodes and what runs."),
            scope: .admin, annotations: .reading, input: Nothing.self, accepts: .input([]),
            answers: .output([
                .required("version", .string()),
                .required("apiUrl", .string("Base address of the API.")),
                .required("mcpUrl", .string("Address of the MCP endpoint.")),
                .required("tokenFile", .string("File on the controller's host with the first admin token.")),
                .required("nodeListener", .string("`host:port` that nodes dial.")),
                .required("nodes", .array(NodeSchemas.node)),
                .required("projects", .count("Active projects of all workspaces.")),
                .required("execsRunning", .count("Commands that run now.")),
            ]), visibleToAgents: false
        ) { _, _ in
            let addresses = endpoints.current
            return Answer(
                version: configuration.version, apiUrl: addresses.apiURL, mcpUrl: addresses.mcpURL,
                tokenFile: configuration.tokenFile, nodeListener: addresses.nodeListener.description,
                nodes: try await nodes.views(), projects: try await store.counts().activeProjects,
                execsRunning: Int(metrics.value(.execsRunning)))
        }
    }
}
