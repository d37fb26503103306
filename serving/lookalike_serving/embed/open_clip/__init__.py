"""Provider OpenClip: any architecture that open_clip builds, with weights from `weights`."""
