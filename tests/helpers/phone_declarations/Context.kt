package android.content

import android.content.res.AssetManager

open class Context {
    val assets = AssetManager()
}
