import FastableCore
import NodeLinux

/// `config.json` of the OCI runtime specification, version 1.0.2: the parts that we use, under their names there.
package struct RuntimeSpec: Codable, Equatable, Sendable {
    package var ociVersion = "1.0.2"
    package var process: Process
    package var root: Root
    package var hostname: String
    package var mounts: [Mount]
    package var linux: Linux

    package struct Process: Codable, Equatable, Sendable {
        package var terminal = false
        package var user = User()
        package var args: [String]
        package var env: [String]
        package var cwd = "/"
        package var capabilities: Capabilities
        package var rlimits: [ResourceLimit]
        package var noNewPrivileges = true
        package var oomScoreAdj: Int
    }

    package struct User: Codable, Equatable, Sendable {
        package var uid = 0
        package var gid = 0
    }

    /// The three sets that matter; inheritable and ambient stay empty.
    package struct Capabilities: Codable, Equatable, Sendable {
        package var bounding: [String]
        package var effective: [String]
        package var permitted: [String]

        init(_ names: [String]) {
            bounding = names
            effective = names
            permitted = names
        }
    }

    package struct ResourceLimit: Codable, Equatable, Sendable {
        package var type: String
        package var hard: UInt64
        package var soft: UInt64
    }

    package struct Root: Codable, Equatable, Sendable { package var path: String }

    package struct Mount: Codable, Equatable, Sendable {
        package var destination: String
        package var type: String
        package var source: String
        package var options: [String]
    }

    package struct Linux: Codable, Equatable, Sendable {
        package var namespaces: [Namespace]
        package var uidMappings: [IDMapping]
        package var gidMappings: [IDMapping]
        package var cgroupsPath: String
        package var resources: Resources
        package var sysctl: [String: String]
        package var seccomp: SeccompProfile
        package var maskedPaths: [String]
        package var readonlyPaths: [String]
    }

    package struct Namespace: Codable, Equatable, Sendable {
        package var type: String
        /// Absent: a new one.
        package var path: String?
    }

    package struct IDMapping: Codable, Equatable, Sendable {
        package var containerID: UInt32
        package var hostID: UInt32
        package var size: UInt32
    }

    package struct Resources: Codable, Equatable, Sendable {
        package var devices: [DeviceRule]?
        package var memory: Memory
        package var cpu: CPU
        package var pids: PIDs
    }

    package struct DeviceRule: Codable, Equatable, Sendable {
        package var allow: Bool
        package var access: String
    }

    package struct Memory: Codable, Equatable, Sendable {
        package var limit: Int
        /// Memory and swap together, so that the same value as `limit` means no swap.
        package var swap: Int?
    }

    /// Microseconds of CPU time per period, and the weight while there is not enough for all.
    package struct CPU: Codable, Equatable, Sendable {
        package var quota: Int
        package var period: Int
        package var shares: Int
    }

    package struct PIDs: Codable, Equatable, Sendable { package var limit: Int }
}

extension RuntimeSpec.Resources {
    /// Microseconds over which CPU time is counted.
    static let schedulingPeriod = 100_000

    init(_ limits: ResourceLimits, limitsSwap: Bool) {
        memory = RuntimeSpec.Memory(limit: limits.memoryBytes, swap: limitsSwap ? limits.memoryBytes : nil)
        cpu = RuntimeSpec.CPU(
            quota: Int(limits.cpus * Double(Self.schedulingPeriod)), period: Self.schedulingPeriod,
            shares: CgroupTree.shares(limits.cpus))
        pids = RuntimeSpec.PIDs(limit: limits.pids)
    }
}
