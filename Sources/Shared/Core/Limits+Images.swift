extension Limits {
    // MARK: images of registries
    /// Images that a node pulls at a time; others wait for their turn.
    public static let imagePullsAtOnce = 3
    /// The longest description of an image that is taken from a registry.
    public static let imageManifestBytes = 1024 * 1024
    /// An image takes so many times its compressed size until it is unpacked and its archive is gone.
    public static let imageRoomFactor = 4
    /// Images for which a node tells from where they can be had.
    public static let imageReferencesTold = 1000
    /// The same of images that it dropped.
    public static let droppedImagesRemembered = 100
    /// Registries that may be spoken to without TLS.
    public static let insecureRegistries = 32
    /// How often it is looked how much of an image has come.
    public static let imagePullLookMilliseconds = 500
}
